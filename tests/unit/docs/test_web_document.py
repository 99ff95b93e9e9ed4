"""The files that docs/web.md shows fit together."""

from __future__ import annotations

import re

import yaml

from tests.support.web_document import PORT, blocks


def test_the_ingress_of_the_document_leads_to_the_workers_and_takes_its_prefix_away() -> None:
    service, ingress = next(
        found for each in blocks("yaml") if len(found := list(yaml.safe_load_all(each))) == 2
    )
    assert (service["kind"], ingress["kind"]) == ("Service", "GafaelfawrIngress")
    assert ingress["apiVersion"] == "gafaelfawr.lsst.io/v1alpha1"
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] == PORT
    config, template = ingress["config"], ingress["template"]
    assert config["scopes"] == {"all": ["exec:internal-tools"]}
    assert config["service"]
    (rule,) = template["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["name"] == port["name"]
    annotations = template["metadata"]["annotations"]
    assert all(isinstance(value, str) for value in annotations.values())
    target = annotations["nginx.ingress.kubernetes.io/rewrite-target"].replace("$", "\\")
    for shown in ("/", "/windows/x", "/api/v1/overview"):
        assert re.sub(f"^{path['path']}$", target, f"/butler-writer{shown}") == shown


def test_the_pod_of_the_document_names_its_address() -> None:
    (pod,) = [
        found for each in blocks("yaml") if "env" in (found := next(yaml.safe_load_all(each)))
    ]
    (variable,) = pod["env"]
    assert variable["name"] == "BUTLER_WRITER_WEB_HOST"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
