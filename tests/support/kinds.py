"""Strict schemas of the kinds of objects that the chart makes: an unknown field is refused."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

__all__ = ["KUBERNETES", "refusal_of"]

#: The oldest version whose schema does not require ``serviceName``, which the deployed chart lacks.
KUBERNETES = "1.33"

#: Where the models of the kinds of operators are.
_MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}

#: Schemas of ours, of kinds for which there is no package.
_OWN = Path(__file__).with_name("schemas")


def refusal_of(content: dict[str, Any]) -> str:
    """Return why an object is not one of its kind; empty: it is.

    Raises
    ------
    LookupError
        If there is no schema of its kind.
    """
    group, kind = content["apiVersion"], content["kind"]
    try:
        if group in _MODELS or (_OWN / f"{kind}.json").exists():
            Draft202012Validator(_schema(group, kind)).validate(content)
        else:
            kubernetes_validate.validate(content, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError as missing:
        raise LookupError(missing.message) from missing
    except ValidationError as problem:
        return f"{'.'.join(map(str, problem.absolute_path))}: {problem.message}"
    return ""


@cache
def _schema(group: str, kind: str) -> dict[str, Any]:
    if group not in _MODELS:
        own: dict[str, Any] = json.loads((_OWN / f"{kind}.json").read_text())
        return own
    model = getattr(import_module(_MODELS[group]), kind)
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    _close(schema)
    return schema


def _close(node: object) -> None:
    """Let all objects of a schema refuse unknown fields."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for value in node.values():
            _close(value)
    elif isinstance(node, list):
        for value in node:
            _close(value)
