"""The image and the Compose file: what can be checked without running them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import faust
import pytest
import yaml
from lsst.daf.butler import DimensionUniverse

from app.downstream.rules_file import read_rules
from app.settings import (
    ButlerSettings,
    DownstreamSettings,
    KafkaSettings,
    ServiceSettings,
    WindowSettings,
)
from app.settings.composition import load_settings
from simulator.commands import main as simulator
from simulator.outputs import dataset_types
from testbed.kafka_jars import KAFKA_VERSION
from testbed.worker import CHECKOUT
from tests.support.dockerfile import dockerfile_stages
from tests.support.least_rights import DOWNSTREAM_ROLE, DOWNSTREAM_ROLES, ROLE, ROLES
from tests.support.library_variables import LIBRARY_VARIABLES

SECTIONS = (
    KafkaSettings,
    WindowSettings,
    ButlerSettings,
    DownstreamSettings,
    ServiceSettings,
)

Service = dict[str, Any]


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    """The services of the Compose file."""
    found: dict[str, Service] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    return found["services"]


@pytest.fixture(scope="module")
def stages() -> dict[str, list[list[str]]]:
    """The Dockerfile's instructions by stage, each as a list of words."""
    return dockerfile_stages()


def _check(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _last(stage: list[list[str]], instruction: str) -> str:
    return [" ".join(words[1:]) for words in stage if words[0] == instruction][-1]


def _seconds(duration: str) -> float:
    assert duration.endswith("s")
    return float(duration[:-1])


def test_the_compose_file_matches_its_schema() -> None:
    _check("check-jsonschema", "--builtin-schema=vendor.compose-spec", "docker-compose.yml")


def test_the_dockerfile_passes_its_linter() -> None:
    _check("hadolint", "Dockerfile")


def test_services_wait_only_for_services_that_start_and_become_ready(
    services: dict[str, Service],
) -> None:
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            target = services[name]
            assert set(target.get("profiles", [])) <= set(service.get("profiles", []))
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in target
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert "restart" not in target


def test_long_running_services_have_health_checks(services: dict[str, Service]) -> None:
    assert {name for name, service in services.items() if "healthcheck" in service} == {
        "downstream",
        "downstream-postgresql",
        "grafana",
        "kafka",
        "postgresql",
        "prometheus",
        "standby",
        "worker",
    }


@pytest.mark.parametrize("name", ["worker", "downstream"])
def test_a_worker_gets_only_variables_that_it_reads(
    services: dict[str, Service], name: str
) -> None:
    settings = {
        str(field.validation_alias or f"BUTLER_WRITER_{name.upper()}")
        for section in SECTIONS
        for name, field in section.model_fields.items()
    }
    assert set(services[name]["environment"]) <= settings | LIBRARY_VARIABLES


def test_worker_and_simulator_use_the_same_topics_and_repository(
    services: dict[str, Service],
) -> None:
    shared = {"KAFKA_CLUSTER", "KAFKA_TOPIC", "KAFKA_OUTPUT_TOPIC", "BUTLER_REPOSITORY"}
    environments = [services[name]["environment"] for name in ("prepare", "worker", "simulator")]
    assert {tuple(env[name] for name in sorted(shared)) for env in environments} == {
        ("/repo/prompt", "kafka:19092", "batch-ingested", "pp-output")
    }


def test_the_downstream_worker_fills_a_repository_from_that_of_the_worker(
    services: dict[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    downstream, worker = services["downstream"], services["worker"]
    for name, value in downstream["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    settings.require_connections()
    assert settings.downstream.is_replica
    assert settings.kafka.topic == f"{worker['environment']['KAFKA_TOPIC']}-products"
    assert settings.kafka.group == "butler-writer-replicate-public"
    target, source = settings.write.repository, worker["environment"]["BUTLER_REPOSITORY"]
    root = settings.downstream.source_root
    assert root is not None
    assert Path(root.ospath) == Path(source)
    assert target != source
    assert services["downstream-prepare"]["environment"]["BUTLER_REPOSITORY"] == target
    # The worker makes the product log, which must exist.
    assert downstream["depends_on"]["worker"] == {"condition": "service_healthy"}
    for same in ("build", "healthcheck", "deploy", "stop_grace_period", "read_only", "cap_drop"):
        assert downstream[same] == worker[same]


def test_the_downstream_worker_has_rules_for_the_simulated_night(
    services: dict[str, Service],
) -> None:
    volumes = [volume.split(":") for volume in services["downstream"]["volumes"]]
    mounted = {target: source for source, target, *_ in volumes}
    universe = DimensionUniverse()
    path = mounted[services["downstream"]["environment"]["BUTLER_WRITER_RULES"]]
    rules = read_rules(CHECKOUT / path, universe)
    embargoes = {
        kind.name: rule.embargo
        for kind in dataset_types(universe)
        if (rule := rules.of_dataset(kind.name, "run", "prompt_processing", sees_sky=True))
    }
    assert len(embargoes) == len(dataset_types(universe))
    assert embargoes["calibrateImage_background"] == 80 * 3600 * 10**9
    assert embargoes["filterDiaSource_rejected"] is None
    assert embargoes["isr_metadata"] == 0


@pytest.mark.parametrize("name", ["prepare", "downstream-prepare"])
def test_prepare_accepts_its_command_line(services: dict[str, Service], name: str) -> None:
    command, *arguments = services[name]["command"]
    required = ["--root=/repo/prompt"]  # from the environment
    if name == "prepare":
        required.append("--bootstrap=kafka:19092")
    understood = simulator.commands[command].make_context(command, [*arguments, *required])
    assert understood.params.get("partitions", 6) > 1
    assert understood.params["database"].startswith("postgresql://")


@pytest.mark.parametrize(
    ("prefix", "worker", "role", "statements"),
    [
        ("", "worker", ROLE, ROLES),
        ("downstream-", "downstream", DOWNSTREAM_ROLE, DOWNSTREAM_ROLES),
    ],
)
def test_a_worker_uses_a_role_of_its_own(
    services: dict[str, Service], prefix: str, worker: str, role: str, statements: str
) -> None:
    owner = services[f"{prefix}prepare"]["environment"]["PGUSER"]
    assert services[f"{prefix}postgresql"]["environment"]["POSTGRES_USER"] == owner
    environment = services[worker]["environment"]
    assert environment["PGUSER"] == role != owner
    assert f"CREATE ROLE {role} WITH LOGIN PASSWORD '{environment['PGPASSWORD']}'" in statements
    assert f"{prefix}roles" in services[worker]["depends_on"]
    (mounted,) = services[f"{prefix}roles"]["volumes"]
    assert (CHECKOUT / mounted.split(":")[0]).read_text() == statements


def test_several_workers_can_run(services: dict[str, Service]) -> None:
    """A fixed container name or host port would allow only one."""
    assert "container_name" not in services["worker"]
    assert services["worker"]["ports"] == ["127.0.0.1::6066"]


def test_a_worker_writes_only_to_its_volume_and_tmp(services: dict[str, Service]) -> None:
    worker = services["worker"]
    assert worker["read_only"]
    assert worker["tmpfs"] == ["/tmp"]
    assert ServiceSettings().data_directory.is_relative_to("/tmp")
    assert worker["volumes"] == ["repository:/repo"]
    for name in ("BUTLER_REPOSITORY", "OUTPUT_DATASET_LIST_DIRECTORY"):
        assert worker["environment"][name].startswith("/repo/")


def test_a_worker_has_the_limits_of_the_deployed_pod_and_enough_time_to_stop(
    services: dict[str, Service],
) -> None:
    worker = services["worker"]
    assert worker["deploy"]["resources"]["limits"] == {"cpus": "1", "memory": "1G"}
    assert _seconds(worker["stop_grace_period"]) > WindowSettings().shutdown_timeout


def test_compose_uses_the_same_kafka_version_as_the_tests(services: dict[str, Service]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_a_reader_reaches_only_the_standby(services: dict[str, Service]) -> None:
    mine = set(services["reader"]["networks"])
    reached = {
        name
        for name, service in services.items()
        if mine & set(service.get("networks", ["default"]))
    }
    assert reached == {"reader", "standby"}
    read_repo = yaml.safe_load((CHECKOUT / "deploy/read-replica/butler.yaml").read_text())
    assert "@standby/" in read_repo["registry"]["db"]
    assert read_repo["datastore"]["root"] == services["worker"]["environment"]["BUTLER_REPOSITORY"]


def test_mounted_files_exist(services: dict[str, Service]) -> None:
    for service in services.values():
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            if source.startswith("./"):
                assert (CHECKOUT / source).is_file()


def test_targets_exist_and_the_worker_is_built_by_default(
    services: dict[str, Service], stages: dict[str, list[list[str]]]
) -> None:
    targets = {service["build"]["target"] for service in services.values() if "build" in service}
    assert targets == {"worker", "simulator"}
    assert targets <= set(stages)
    assert list(stages)[-1] == "worker"


def test_a_worker_runs_as_user_1000_and_receives_signals(
    stages: dict[str, list[list[str]]],
) -> None:
    """A shell in between would not forward SIGTERM."""
    worker = stages["worker"]
    assert _last(worker, "USER") == "1000:1000"
    assert _last(worker, "ENTRYPOINT") == '["faust", "-A", "app"]'
    assert _last(worker, "CMD") == '["worker"]'


def test_health_checks_use_the_port_of_faust(
    services: dict[str, Service], stages: dict[str, list[list[str]]]
) -> None:
    port = faust.App("any").conf.web_port
    assert f"127.0.0.1:{port}/livez" in _last(stages["worker"], "HEALTHCHECK")
    assert f"127.0.0.1:{port}/readyz" in services["worker"]["healthcheck"]["test"]
    assert _last(stages["worker"], "EXPOSE") == str(port)


def test_the_image_has_nothing_where_deployments_mount_files(
    stages: dict[str, list[list[str]]],
) -> None:
    words = [words for stage in stages.values() for words in stage]
    targets = [Path(target) for kind, *_, target in words if kind in {"COPY", "WORKDIR"}]
    assert not [target for target in targets if target.is_relative_to("/app")]
    # Faust searches packages in the working folder first.
    assert _last(stages["base"], "WORKDIR") == "/srv"
    assert not [words for words in stages["worker"] if words[0] == "WORKDIR"]


def test_every_copied_file_exists_and_is_not_ignored(stages: dict[str, list[list[str]]]) -> None:
    copied = {
        source
        for stage in stages.values()
        for words in stage
        if words[0] == "COPY" and not words[1].startswith("--from")
        for source in words[1:-1]
    }
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {path.split("/")[0] for path in let_in} == copied
    for path in let_in:
        assert (CHECKOUT / path).exists()


def test_the_image_is_labelled_with_its_version(stages: dict[str, list[list[str]]]) -> None:
    labels = dict(
        word.split("=", 1) for word in _last(stages["worker"], "LABEL").split() if "=" in word
    )
    assert labels["org.opencontainers.image.version"] == '"${VERSION}"'
    assert ["ARG", "VERSION=unknown"] in stages["worker"]


def test_downloads_into_the_image_are_verified_by_hash(stages: dict[str, list[list[str]]]) -> None:
    scripts = [" ".join(words) for stage in stages.values() for words in stage if words[0] == "RUN"]
    installs = [line for script in scripts for line in script.split("&&") if " install " in line]
    pip_installs = [line for line in installs if "pip " in line]
    assert len(pip_installs) >= 4
    for line in pip_installs:
        assert " --require-hashes " in line or " --no-index " in line


def test_the_wheel_contains_the_whole_service_and_nothing_else(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in ("agents", "app", "models", "simulator"):
        shutil.copytree(
            CHECKOUT / name, project / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, project)
    options = ["--no-index", "--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}"]
    _check("pip", "wheel", "--quiet", *options, str(project))
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {
        str(path.relative_to(CHECKOUT))
        for name in ("agents", "app", "models")
        for path in (CHECKOUT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
