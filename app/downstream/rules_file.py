"""Read the release rules of a downstream repository from a YAML file.

Every error has the line and the column.  The file is a list of rules, see
``deploy/downstream/rules-example.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import ceil
from pathlib import Path

import yaml
from lsst.daf.butler import DimensionUniverse

from app.downstream.embargo import elements_with_time
from app.downstream.rules import DatasetRule, Globs, RecordRule, Rules
from app.downstream.yaml_nodes import MOST_BYTES, RulesError, compose, text_of

__all__ = ["parse_rules", "read_rules"]

_GLOBS = ("dataset_types", "runs", "origins")
_RECORDS = "dimension_records"
_HOURS = "embargo_hours"
_KEYS = (*_GLOBS, "can_see_sky", _RECORDS, _HOURS, "exclude")

_HOUR = 3_600 * 1_000_000_000

#: A hundred years; what is never to be released is excluded instead.
_MOST_HOURS = 876_000

#: A number as it is read: not octal as YAML's ``010``, no base 60 as its ``80:00``, no exponent.
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?", re.ASCII)

_STRING = "tag:yaml.org,2002:str"

_Nodes = dict[str, yaml.Node]


def read_rules(path: Path, universe: DimensionUniverse) -> Rules:
    """Read the rules of a file.

    Parameters
    ----------
    path : `pathlib.Path`
        The file.
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimensions of the downstream repository.

    Raises
    ------
    RulesError
        If it cannot be read, or has anything but rules.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise RulesError(
            str(path), None, f"cannot be read ({exc.strerror}): check path and access rights"
        ) from exc
    return parse_rules(content, str(path), universe)


def parse_rules(content: bytes, file: str, universe: DimensionUniverse) -> Rules:
    """Return the rules of a file.

    Parameters
    ----------
    content : `bytes`
        What the file contains.
    file : `str`
        Its path, for errors.
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimensions of the downstream repository.

    Raises
    ------
    RulesError
        If it has anything but rules.
    """
    return _Parser(file, elements_with_time(universe)).rules(compose(content, file))


class _Parser:
    """Makes rules of nodes."""

    def __init__(self, file: str, elements: frozenset[str]) -> None:
        self._file = file
        self._elements = elements

    def rules(self, root: yaml.Node) -> Rules:
        """Return the rules of the root node."""
        if not isinstance(root, yaml.SequenceNode):
            raise self._error(root, "not a list of rules: begin each rule with '- '")
        for_datasets: list[DatasetRule] = []
        for_records: list[RecordRule] = []
        for node in root.value:
            keys = self._keys(node)
            if _RECORDS in keys:
                for_records.append(self._record_rule(node, keys))
                continue
            if for_datasets and for_datasets[-1].match_all:
                raise self._error(
                    node,
                    f"never reached, since the rule in line {for_datasets[-1].line} is for every"
                    " dataset: move this rule before it",
                )
            for_datasets.append(self._dataset_rule(node, keys))
        if not for_datasets:
            raise self._error(root, "no rule for datasets: nothing would be released, add one")
        return Rules(tuple(for_datasets), tuple(for_records))

    def _keys(self, rule: yaml.Node) -> _Nodes:
        """Return the values of a rule by key."""
        if not isinstance(rule, yaml.MappingNode):
            raise self._error(rule, f"{text_of(rule)} is not a rule: write 'key: value' lines")
        found: _Nodes = {}
        for key, value in rule.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in _KEYS:
                raise self._error(
                    key, f"unknown key {text_of(key)}: the keys are {', '.join(_KEYS)}"
                )
            if key.value in found:
                raise self._error(key, f"{key.value} is there twice in this rule: remove one")
            found[key.value] = value
        return found

    def _dataset_rule(self, node: yaml.Node, keys: _Nodes) -> DatasetRule:
        if not keys.keys() - {_HOURS, "exclude"}:
            raise self._error(
                node, 'it does not say for what: for everything, add dataset_types: ["*"]'
            )
        if (_HOURS in keys) == ("exclude" in keys):
            raise self._error(node, f"it needs either {_HOURS} or exclude: true")
        if "exclude" in keys:
            self._require(keys["exclude"], "true", "exclude", "to release datasets, remove it")
        if "can_see_sky" in keys:
            remedy = "a rule without it is for all datasets"
            self._require(keys["can_see_sky"], "false", "can_see_sky", remedy)
        dataset_types, runs, origins = (
            Globs(self._names(keys[key], key) if key in keys else ()) for key in _GLOBS
        )
        return DatasetRule(
            line=node.start_mark.line + 1,
            embargo=self._hours(keys[_HOURS]) if _HOURS in keys else None,
            dataset_types=dataset_types,
            runs=runs,
            origins=origins,
            is_without_sky="can_see_sky" in keys,
        )

    def _record_rule(self, node: yaml.Node, keys: _Nodes) -> RecordRule:
        for key in keys.keys() - {_RECORDS, _HOURS}:
            raise self._error(
                keys[key], f"{key} does not go with {_RECORDS}: make two rules, or remove it"
            )
        if _HOURS not in keys:
            raise self._error(node, f"a rule for {_RECORDS} needs {_HOURS}")
        elements = frozenset(self._names(keys[_RECORDS], _RECORDS, self._elements))
        return RecordRule(node.start_mark.line + 1, self._hours(keys[_HOURS]), elements)

    def _names(
        self, node: yaml.Node, key: str, allowed: frozenset[str] | None = None
    ) -> Iterator[str]:
        """Yield the names or globs of a list."""
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self._error(node, f'{key} must be a list of names, such as ["a", "b"]')
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or item.tag != _STRING:
                raise self._error(item, f"{text_of(item)} is not a name: put quotes around names")
            name = item.value
            if not name or not name.isprintable() or " " in name:
                raise self._error(
                    item,
                    f"{text_of(item)} matches no name: names have no spaces, and are not empty",
                )
            if allowed is not None and name not in allowed:
                raise self._error(
                    item,
                    f"{text_of(item)} is no dimension element with a time: use one of"
                    f" {', '.join(sorted(allowed))}",
                )
            yield name

    def _hours(self, node: yaml.Node) -> int:
        """Return a number of hours in nanoseconds, rounded up."""
        text = node.value if isinstance(node, yaml.ScalarNode) and node.style is None else None
        if text is None or not _NUMBER.fullmatch(text) or Decimal(text) > _MOST_HOURS:
            raise self._error(
                node,
                f"{_HOURS} is {text_of(node)}: write a number from 0 to {_MOST_HOURS}, with digits"
                " and without quotes, such as 80 or 0.5",
            )
        return ceil(Decimal(text) * _HOUR)

    def _require(self, node: yaml.Node, value: str, key: str, remedy: str) -> None:
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if not is_plain or node.value != value:
            raise self._error(node, f"{key} is {text_of(node)}, and can only be {value}: {remedy}")

    def _error(self, node: yaml.Node, problem: str) -> RulesError:
        return RulesError(self._file, node.start_mark, problem)
