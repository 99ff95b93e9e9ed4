"""What the Helm chart makes: valid objects, a drop-in replacement, pods that a worker runs in."""

from __future__ import annotations

import os
import shlex
import tarfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import faust
import pytest
import yaml
from lsst.daf.butler import DimensionUniverse

from app.downstream.rules_file import read_rules
from app.settings import Settings, doubtful_variables, load_settings
from app.settings.section import PREFIX
from app.settings.variables import setting_variables
from testbed.worker import CHECKOUT
from tests.support.chart import CHART, EXAMPLES, RELEASE, Chart, Manifest, environment_of, pods_of
from tests.support.kinds import refusal_of
from tests.support.library_variables import LIBRARY_VARIABLES
from tests.support.monitoring import RULE_FILES, rule_file

Object = dict[str, Any]
Manifests = dict[str, Manifest]

#: For each kind, a wrong field in an object of it.
WRONG_FIELDS = {
    "ConfigMap": ("data", {"rules.yaml": 3}),
    "GafaelfawrIngress": ("config", {"scope": ["read:all"]}),
    "NetworkPolicy": ("spec", {"egres": []}),
    "Pod": ("spec", {"securityContexts": {}}),
    "PodDisruptionBudget": ("spec", {"maxUnavailble": 1}),
    "PodMonitor": ("spec", {"podMetricsEndpoint": []}),
    "PrometheusRule": ("spec", {"group": []}),
    "ScaledObject": ("spec", {"maxReplicas": 3}),
    "Service": ("spec", {"publishNotReady": True}),
    "StatefulSet": ("spec", {"replica": 1}),
    "TriggerAuthentication": ("spec", {"secretTarget": []}),
    "VaultSecret": ("spec", {"keys": ["all"]}),
}


def values_of(name: str) -> Object:
    """Return the values of a file in ``ci/``."""
    values: Object = yaml.safe_load(EXAMPLES[name].read_text())
    return values


def writer_of(manifest: Manifest) -> Object:
    """Return the StatefulSet of the role ``write``."""
    return manifest["StatefulSet", RELEASE]


@pytest.mark.parametrize("name", EXAMPLES)
def test_helm_finds_no_fault_with_the_chart(chart: Chart, name: str) -> None:
    done = chart.run("lint", "--strict", CHART, "--values", EXAMPLES[name])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_object_is_valid_and_a_wrong_field_of_each_kind_is_refused(
    manifests: Manifests,
) -> None:
    """One test, since the schemas take seconds to load."""
    objects = [content for manifest in manifests.values() for content in manifest.values()]
    assert [refusal for each in objects if (refusal := refusal_of(each))] == []
    kinds = {each["kind"]: each for each in objects}
    assert kinds.keys() == WRONG_FIELDS.keys()
    for kind, (part, wrong) in WRONG_FIELDS.items():
        spoilt = deepcopy(kinds[kind])
        spoilt[part] |= wrong
        assert refusal_of(spoilt), kind


def test_the_values_of_the_deployed_chart_keep_what_cannot_be_changed(chart: Chart) -> None:
    """Name, selector and the fields that the deployed StatefulSet has not."""
    names = {
        ("butler-writer-service", "", ""): "butler-writer-service",
        ("prompt", "", ""): "prompt-butler-writer-service",
        ("prompt", "proxy", ""): "prompt-proxy",
        ("prompt-proxy-1", "proxy", ""): "prompt-proxy-1",
        ("prompt", "proxy", "writer"): "writer",
    }
    for (release, name, fullname), expected in names.items():
        values = values_of("deployed") | {"nameOverride": name, "fullnameOverride": fullname}
        manifest = chart.render(values, release)
        (workers,) = manifest.of_kind("StatefulSet")
        assert workers["metadata"]["name"] == expected
        assert "namespace" not in workers["metadata"]
        assert workers["spec"]["selector"] == {
            "matchLabels": {
                "app.kubernetes.io/name": "butler-writer-service",
                "app.kubernetes.io/instance": release,
            }
        }
        assert workers["spec"].keys() == {"replicas", "selector", "template"}
        secrets = [
            volume["secret"]["secretName"]
            for volume in workers["spec"]["template"]["spec"]["volumes"]
            if "secret" in volume
        ]
        assert set(secrets) == {f"{expected}-secret"}
        # Without it, Argo CD would remove the secret of the deployed service.
        secret = manifest["VaultSecret", f"{expected}-secret"]
        assert secret["spec"]["path"] == "secret/phalanx/usdf/butler-writer-service"


def test_the_deployed_values_give_the_deployed_pod_with_its_files_and_limits(
    manifests: Manifests,
) -> None:
    workers = writer_of(manifests["deployed"])
    assert workers["spec"]["replicas"] == 1
    template = workers["spec"]["template"]
    values = values_of("deployed")
    assert template["metadata"]["annotations"].items() >= values["podAnnotations"].items()
    for name in ("nodeSelector", "tolerations", "affinity"):
        assert template["spec"][name] == values[name]
    (container,) = template["spec"]["containers"]
    assert container["image"] == "ghcr.io/lsst-dm/butler-writer:0.1.0"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"] == {
        "requests": {"cpu": "0.25", "memory": "0.5Gi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
    files = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    (key,) = volumes[files["/app/s3"]]["secret"]["items"]
    assert key == {"key": "s3_credentials_file", "path": "credentials"}
    environment = environment_of(template)
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == "/app/s3/credentials"
    assert environment["LSST_DB_AUTH"] == "/app/lsst-credentials/db-auth.yaml"
    (password,) = [each for each in container["env"] if each["name"] == "KAFKA_PASSWORD"]
    assert password["valueFrom"]["secretKeyRef"]["key"] == "butler-writer-password"


def test_the_database_credentials_are_a_file_of_the_worker_that_nobody_else_may_read(
    manifests: Manifests,
) -> None:
    pod = writer_of(manifests["deployed"])["spec"]["template"]["spec"]
    (copy,) = pod["initContainers"]
    command, mode, source, target = copy["command"]
    assert (command, mode) == ("install", "--mode=0400")
    mounted = {mount["mountPath"]: mount["name"] for mount in copy["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (item,) = volumes[mounted[str(Path(source).parent)]]["secret"]["items"]
    assert item == {"key": "db-auth_file", "path": Path(source).name}
    written = volumes[mounted[str(Path(target).parent)]]
    assert "emptyDir" in written
    (worker,) = pod["containers"]
    assert {
        "name": written["name"],
        "mountPath": str(Path(target).parent),
        "readOnly": True,
    } in worker["volumeMounts"]
    assert target == environment_of({"spec": pod})["LSST_DB_AUTH"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_pod_has_an_environment_that_the_worker_accepts_and_reads(
    manifests: Manifests, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = list(pods_of(manifests[name]))
    assert pods
    for pod in pods:
        environment = environment_of(pod)
        with monkeypatch.context() as patch:
            for variable in list(os.environ):
                if variable.startswith((PREFIX, "BUTLER_", "KAFKA_", "OUTPUT_", "WRITER_")):
                    patch.delenv(variable)
            for variable, value in environment.items():
                patch.setenv(variable, value)
            settings = load_settings()
            settings.require_connections()
            read = {variable for variable, _ in setting_variables(vars(settings))}
            assert environment.keys() <= read | LIBRARY_VARIABLES
            assert list(doubtful_variables(environment, settings)) == []
            assert pod["spec"]["terminationGracePeriodSeconds"] == (
                settings.windows.shutdown_timeout + 15
            )
            assert settings.service.web_host == "10.1.2.3"


def test_numbers_and_truth_values_reach_the_settings(
    manifests: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment_of(
        writer_of(manifests["everything"])["spec"]["template"]
    ).items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.windows.window_bytes == 32 * 1024 * 1024
    assert settings.windows.window_seconds == 0.5
    assert settings.kafka.tls


def test_the_example_for_production_has_the_strict_settings(manifests: Manifests) -> None:
    lines = (CHECKOUT / "deploy/strict.env").read_text()
    strict = dict(word.split("=", 1) for word in shlex.split(lines, comments=True))
    assert len(strict) == 4
    environment = environment_of(writer_of(manifests["production"])["spec"]["template"])
    assert strict.items() <= environment.items()


def test_every_setting_but_those_of_the_chart_itself_can_be_given(chart: Chart) -> None:
    names = {name for name, _ in setting_variables(vars(Settings())) if name.startswith(PREFIX)}
    own = {"DATA_DIRECTORY", "LANES", "ROLE", "RULES", "SHUTDOWN_TIMEOUT", "TARGET", "WEB_HOST"}
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    allowed = schema["definitions"]["settings"]["propertyNames"]["enum"]
    assert allowed == sorted(names - {f"{PREFIX}{name}" for name in own})
    assert "BUTLER_WRITER_LANE" in chart.try_values(
        values_of("least") | {"settings": {"BUTLER_WRITER_LANE": 3}}
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_pass_the_restricted_standard_and_write_only_to_tmp(
    manifests: Manifests, name: str
) -> None:
    mounted = {each["mountPath"] for each in values_of(name).get("volumeMounts", [])}
    for pod in pods_of(manifests[name]):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in (*spec["containers"], *spec["initContainers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        (worker,) = spec["containers"]
        mounts = worker["volumeMounts"]
        writable = {each["mountPath"] for each in mounts if not each.get("readOnly")}
        assert writable - mounted == {"/tmp"}
        assert ("tmp", "emptyDir") in {
            (each["name"], kind) for each in spec["volumes"] for kind in each if kind != "name"
        }
    # The image's home is there, and so are Faust's files by default.
    assert "HOME=/tmp" in (CHECKOUT / "Dockerfile").read_text()
    assert Settings().service.data_directory.is_relative_to("/tmp")


@pytest.mark.parametrize("name", EXAMPLES)
def test_probes_reach_the_pages_port(manifests: Manifests, name: str) -> None:
    for workers in manifests[name].of_kind("StatefulSet"):
        (container,) = workers["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["worker"]
        (port,) = container["ports"]
        assert port["containerPort"] == faust.App("any").conf.web_port
        for probe, path in {
            "startup": "/livez",
            "liveness": "/livez",
            "readiness": "/readyz",
        }.items():
            assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": port["name"]}


def test_selectors_tell_the_workers_of_both_roles_and_the_checks_apart(
    manifests: Manifests,
) -> None:
    manifest = manifests["everything"]
    sets = manifest.of_kind("StatefulSet")
    assert {each["metadata"]["name"] for each in sets} == {RELEASE, f"{RELEASE}-public"}
    pods = [pod["metadata"]["labels"] for pod in pods_of(manifest)]
    selectors = [each["spec"]["selector"]["matchLabels"] for each in sets]
    for selector, own in zip(selectors, sets, strict=True):
        chosen = [labels for labels in pods if selector.items() <= labels.items()]
        assert chosen == [own["spec"]["template"]["metadata"]["labels"]]
    for kind in ("Service", "PodDisruptionBudget"):
        for each in manifest.of_kind(kind):
            found = each["spec"]["selector"]
            workers = manifest["StatefulSet", each["metadata"]["name"]]["spec"]["selector"]
            assert found in (workers, workers["matchLabels"])
    (policy,) = manifest.of_kind("NetworkPolicy")
    chosen_pods = policy["spec"]["podSelector"]["matchLabels"]
    assert all(chosen_pods.items() <= labels.items() for labels in pods)


def test_only_workers_the_ingress_and_prometheus_reach_the_pages(manifests: Manifests) -> None:
    (policy,) = manifests["everything"].of_kind("NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"port": "http"}]
    peers = [tuple(each["podSelector"]["matchLabels"].items()) for each in rule["from"]]
    assert peers == [
        (("app.kubernetes.io/part-of", "butler-writer"), ("app.kubernetes.io/instance", RELEASE)),
        (("gafaelfawr.lsst.io/ingress", "true"),),
        (("app.kubernetes.io/name", "prometheus"),),
    ]
    # Another namespace may have them, but workers are of this one.
    assert ["namespaceSelector" in each for each in rule["from"]] == [False, True, True]


def test_the_ingress_leads_to_the_pages_of_each_role(manifests: Manifests) -> None:
    manifest = manifests["everything"]
    (ingress,) = manifest.of_kind("GafaelfawrIngress")
    (rule,) = ingress["template"]["spec"]["rules"]
    found = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert found == {
        "/butler-writer/(.*)": RELEASE,
        "/butler-writer-public/(.*)": f"{RELEASE}-public",
    }
    assert {name for kind, name in manifest if kind == "Service"} == set(found.values())


def test_the_alerts_are_those_of_deploy_monitoring(manifests: Manifests) -> None:
    alerts, downstream = (rule_file(name)["groups"] for name in RULE_FILES)
    (rule,) = manifests["production"].of_kind("PrometheusRule")
    assert rule["spec"]["groups"] == alerts
    (rule,) = manifests["everything"].of_kind("PrometheusRule")
    assert rule["spec"]["groups"] == alerts + downstream


def test_the_package_has_the_alerts(chart: Chart, manifests: Manifests, tmp_path: Path) -> None:
    """In the checkout, they are links to deploy/monitoring."""
    done = chart.run("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        assert all(member.isfile() for member in archive)
    packaged = Chart(chart.helm, package).render(values_of("production"))
    assert packaged == manifests["production"]


def test_prometheus_finds_the_pods_in_one_way(manifests: Manifests) -> None:
    for manifest in manifests.values():
        scraped = [
            "prometheus.io/scrape" in each["spec"]["template"]["metadata"].get("annotations", {})
            for each in manifest.of_kind("StatefulSet")
        ]
        assert set(scraped) == {not manifest.of_kind("PodMonitor")}


def test_keda_scales_the_workers_of_events_and_helm_does_not(manifests: Manifests) -> None:
    manifest = manifests["everything"]
    (scaled,) = manifest.of_kind("ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == RELEASE
    assert "replicas" not in writer_of(manifest)["spec"]
    assert manifest["StatefulSet", f"{RELEASE}-public"]["spec"]["replicas"] == 2
    (trigger,) = scaled["spec"]["triggers"]
    environment = environment_of(writer_of(manifest)["spec"]["template"])
    assert (
        trigger["metadata"].items()
        >= {
            "bootstrapServers": environment["KAFKA_CLUSTER"],
            "topic": environment["KAFKA_TOPIC"],
            "consumerGroup": "butler-writer",
            "tls": "enable",
            "sasl": "scram_sha512",
            "allowIdleConsumers": "false",
        }.items()
    )
    for name in ("deployed", "least", "production"):
        assert manifests[name].of_kind("ScaledObject") == []


def test_several_workers_have_a_disruption_budget(manifests: Manifests) -> None:
    for name, expected in {
        "deployed": set(),
        "least": set(),
        "production": {RELEASE},
        "everything": {RELEASE, f"{RELEASE}-public"},
    }.items():
        budgets = manifests[name].of_kind("PodDisruptionBudget")
        assert {each["metadata"]["name"] for each in budgets} == expected
        assert all(each["spec"]["maxUnavailable"] == 1 for each in budgets)


def test_the_check_of_helm_test_runs_beside_each_role_with_its_environment(
    manifests: Manifests,
) -> None:
    manifest = manifests["everything"]
    for workers in manifest.of_kind("StatefulSet"):
        check = manifest["Pod", f"{workers['metadata']['name']}-check"]
        assert check["metadata"]["annotations"]["helm.sh/hook"] == "test"
        (container,) = check["spec"]["containers"]
        assert container["args"] == ["check"]
        assert check["spec"]["restartPolicy"] == "Never"
        assert environment_of(check) == environment_of(workers["spec"]["template"])
        assert check["spec"]["volumes"] == workers["spec"]["template"]["spec"]["volumes"]


def test_a_downstream_repository_has_its_own_user_and_rules_that_can_be_read(
    manifests: Manifests, tmp_path: Path
) -> None:
    manifest = manifests["everything"]
    template = manifest["StatefulSet", f"{RELEASE}-public"]["spec"]["template"]
    environment = environment_of(template)
    assert environment["KAFKA_USERNAME"] == "butler-writer-public"
    assert environment["BUTLER_WRITER_ROLE"] == "replicate"
    assert "BUTLER_WRITER_WINDOW_BYTES" not in environment
    content = manifest["ConfigMap", f"{RELEASE}-public"]["data"]
    (path,) = content
    mounts = template["spec"]["containers"][0]["volumeMounts"]
    (folder,) = [each["mountPath"] for each in mounts if each["name"] == "rules"]
    assert environment["BUTLER_WRITER_RULES"] == f"{folder}/{path}"
    (tmp_path / path).write_text(content[path])
    rules = read_rules(tmp_path / path, DimensionUniverse())
    rule = rules.of_dataset("deep_image", "run", "prompt_processing", sees_sky=True)
    assert rule is not None
    assert rule.embargo == 80 * 3600 * 10**9
