"""A worker checks what it needs before it joins its group; an error is one line, exit code 1."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.ports import free_port
from testbed.worker import CHECKOUT, Worker
from tests.support.deployment import Deployment
from tests.support.events import make_repository

PROGRAMS = Path(sys.executable).parent
FAUST = [str(PROGRAMS / "faust"), "-A", "app"]

#: The variables that a worker must have.
COMPLETE = {
    "BUTLER_REPOSITORY": "/nowhere/repository",
    "KAFKA_CLUSTER": "127.0.0.1:1",
    "KAFKA_TOPIC": "events",
    "KAFKA_OUTPUT_TOPIC": "ingested",
    "OUTPUT_DATASET_LIST_DIRECTORY": "/nowhere/lists",
}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment that a worker can start with, but for the brokers."""
    folder = tmp_path_factory.mktemp("complete")
    make_repository(folder / "repository")
    return {
        **COMPLETE,
        "BUTLER_REPOSITORY": str(folder / "repository"),
        "OUTPUT_DATASET_LIST_DIRECTORY": str(folder / "lists"),
    }


def run(
    *command: str, environment: Mapping[str, str] | None = None, folder: Path = CHECKOUT
) -> subprocess.CompletedProcess[str]:
    """Run a command with only the given environment variables and a PATH."""
    return subprocess.run(
        command,
        env={"PATH": f"{PROGRAMS}:/usr/bin:/bin", **(environment or {})},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def start_error(environment: Mapping[str, str]) -> str:
    """Start a worker that must refuse to start, and return its error line."""
    result = run(*FAUST, "worker", environment=environment)
    assert result.returncode == 1, result.stderr
    *more, line = result.stderr.splitlines()
    # If a broker is busy, the check logs a warning and is retried.
    assert {json.loads(other)["level"] for other in more} <= {"info", "warning"}
    assert line.startswith("butler-writer: ")
    assert result.stdout == ""
    return line.removeprefix("butler-writer: ")


def test_each_invalid_setting_is_named() -> None:
    error = start_error({"BUTLER_WRITER_WINDOW_EVENTS": "many", "BUTLER_WRITER_WINDOW_BYTES": "0"})

    assert re.fullmatch(
        "BUTLER_WRITER_WINDOW_EVENTS='many': .*; BUTLER_WRITER_WINDOW_BYTES='0': .*", error
    )


def test_each_missing_variable_is_named() -> None:
    assert start_error({}) == f"not set: {', '.join(COMPLETE)}"


def test_a_username_without_a_password_is_refused() -> None:
    error = start_error({**COMPLETE, "KAFKA_USERNAME": "writer"})

    assert error == "KAFKA_USERNAME and KAFKA_PASSWORD go together; only one is set"


def test_an_unreadable_ca_file_is_named(tmp_path: Path) -> None:
    tls = {"BUTLER_WRITER_KAFKA_TLS": "true"}
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")

    for file, reason in ((tmp_path / "absent.pem", "No such file"), (broken, "certificate")):
        error = start_error({**COMPLETE, **tls, "BUTLER_WRITER_KAFKA_CA_FILE": str(file)})
        assert error.startswith(f"BUTLER_WRITER_KAFKA_CA_FILE='{file}': ")
        assert reason in error


def test_a_missing_repository_is_named(embedded_broker: EmbeddedBroker, topic_name: str) -> None:
    error = start_error(
        {**COMPLETE, "KAFKA_CLUSTER": embedded_broker.bootstrap, "KAFKA_TOPIC": topic_name}
    )

    assert error.startswith("cannot open the repository '/nowhere/repository': FileNotFoundError")


@pytest.mark.kafka
class TestTopics:
    """The error names the topic and the problem."""

    @pytest.fixture
    def deployment(self, kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
        return Deployment(kafka, topic_name, tmp_path)

    def test_missing_topics_are_named_if_the_worker_must_not_create_them(
        self, deployment: Deployment
    ) -> None:
        deployment.settings["BUTLER_WRITER_KAFKA_DECLARE_TOPICS"] = "false"
        deployment.cluster.create_topic(f"{deployment.topic}-chain-updates")

        assert start_error(deployment.environment) == (
            f"missing topics: {deployment.dead_letter_topic}, {deployment.group}-chains-changelog; "
            "create them or set BUTLER_WRITER_KAFKA_DECLARE_TOPICS=true"
        )
        assert deployment.dead_letter_topic not in deployment.cluster.topics()

    @pytest.mark.parametrize("variable", ["KAFKA_TOPIC", "KAFKA_OUTPUT_TOPIC"])
    def test_an_input_or_output_topic_that_is_missing_is_named_and_nothing_is_created(
        self, deployment: Deployment, variable: str
    ) -> None:
        before = deployment.cluster.topics()
        typo = f"{deployment.topic}-typo"

        assert start_error({**deployment.environment, variable: typo}) == (
            f"there is no topic {typo}; check KAFKA_TOPIC and KAFKA_OUTPUT_TOPIC, or set "
            "BUTLER_WRITER_KAFKA_DECLARE_INPUT_OUTPUT=true to create what is missing"
        )
        assert deployment.cluster.topics() == before

    def test_nothing_is_created_for_a_repository_that_cannot_be_opened(
        self, deployment: Deployment
    ) -> None:
        before = deployment.cluster.topics()

        error = start_error({**deployment.environment, "BUTLER_REPOSITORY": "/nowhere"})

        assert error.startswith("cannot open the repository '/nowhere'")
        assert deployment.cluster.topics() == before

    def test_input_and_output_topics_are_created_to_fit_if_a_setting_says_so(
        self, deployment: Deployment
    ) -> None:
        events, announcements = f"{deployment.topic}-new", f"{deployment.topic}-new-ingested"
        settings = {
            "KAFKA_TOPIC": events,
            "KAFKA_OUTPUT_TOPIC": announcements,
            "BUTLER_WRITER_KAFKA_DECLARE_INPUT_OUTPUT": "true",
        }
        with Worker({**deployment.environment, **settings}) as worker:
            worker.wait_ready()
        assert announcements in deployment.cluster.topics()
        assert len(deployment.cluster.end_offsets(events)) == 6
        deployment.cluster.produce(events, b"x" * 10 * 2**20)

    def test_an_input_topic_that_refuses_large_events_is_reported(
        self, deployment: Deployment
    ) -> None:
        name = f"{deployment.topic}-small"
        deployment.cluster.create_topic(name, max_message_bytes=2**20)
        with Worker({**deployment.environment, "KAFKA_TOPIC": name}) as worker:
            worker.wait_ready()
            assert "the input topic refuses large events" in worker.log_text()
            assert f"topic {name} accepts messages of up to 1048576 bytes" in worker.log_text()

    def test_a_dead_letter_topic_with_a_lower_size_limit_is_refused(
        self, deployment: Deployment
    ) -> None:
        limit = 10 * 2**20
        name = deployment.dead_letter_topic
        deployment.cluster.create_topic(name, max_message_bytes=limit)

        assert start_error(deployment.environment) == (
            f"topic {name} accepts messages of up to {limit} bytes; "
            f"set its max.message.bytes to at least {limit + 2**20}, "
            "or lower BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES"
        )

    def test_a_changelog_with_several_partitions_is_refused(self, deployment: Deployment) -> None:
        name = f"{deployment.group}-chains-changelog"
        deployment.cluster.create_topic(name, 3)

        assert start_error(deployment.environment) == (
            f"topic {name} has 3 partitions but must have 1; delete it and create it again"
        )


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_worker_ends_if_the_brokers_stay_unreachable(complete: dict[str, str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    limit = {"BUTLER_WRITER_START_WAIT_SECONDS": "2"}
    result = run(*FAUST, "worker", environment={**complete, **limit, "KAFKA_CLUSTER": address})

    assert result.returncode == 1
    *waiting, last = result.stderr.splitlines()
    assert re.fullmatch(
        r"butler-writer: gave up after BUTLER_WRITER_START_WAIT_SECONDS=2; "
        rf"Kafka does not answer: Kafka at {address}: .*Connection refused.*; "
        "check KAFKA_CLUSTER.*",
        last,
    )
    starting, *notes = json_lines("\n".join(waiting))
    assert starting["event"] == "starting"
    assert {note["event"] for note in notes} == {"waiting to start"}
    assert all("Connection refused" in note["reason"] for note in notes)


def test_a_worker_that_waits_for_the_brokers_ends_on_sigterm(complete: dict[str, str]) -> None:
    with Worker({**complete, "KAFKA_CLUSTER": f"127.0.0.1:{free_port()}"}) as worker:
        worker.wait_for_log("waiting to start")
        assert worker.status("/livez") == 200
        assert worker.status("/readyz") == 503

        worker.term()

        assert worker.wait(10) == 0
        starting, *notes = json_lines(worker.log_text())
        assert starting["event"] == "starting"
        assert [line["level"] for line in notes] == ["warning"]


def test_a_worker_that_waits_for_a_brokers_answer_ends_on_sigterm(
    complete: dict[str, str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Worker({**complete, "KAFKA_CLUSTER": address}) as worker:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                worker.term()

                assert worker.wait(10) == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ("agents", "--local"),
            {
                "@agents.chains.chains": "Track each chain's runs",
                "@agents.collect.collect": "Group the pods' events in tumbling windows",
                "@agents.flush.flush": "Write each closed window into the Butler",
            },
        ),
        (("tables",), {"chains": "Each chain's runs, newest first"}),
        (
            ("models",),
            {
                "models.batch_ingested.BatchIngested": "Announces that the datasets of a batch",
                "models.chains.ChainState": "A chain as the table keeps it",
                "models.chains.ChainUpdate": "What one window added to one run",
                "models.chains.RunState": "One run of a chain",
                "models.dead_letter.DeadLetter": "Why an event was set aside",
                "models.prompt_output.PromptOutput": "",
            },
        ),
    ],
)
def test_agents_tables_and_models_are_listed_with_an_empty_environment(
    command: tuple[str, ...], expected: dict[str, str]
) -> None:
    result = run(FAUST[0], "--json", *FAUST[1:], *command)

    assert result.returncode == 0, result.stderr
    found = {row["name"]: row["help"] for row in json.loads(result.stdout)}
    ours = {name: text for name, text in found.items() if not name.startswith("faust.")}
    assert ours.keys() == expected.keys()
    for name, text in expected.items():
        assert ours[name].startswith(text)


def test_help_needs_no_environment() -> None:
    result = run(*FAUST, "--help")

    assert result.returncode == 0
    assert result.stderr == ""
    assert re.search(r"^  worker +Start worker instance", result.stdout, re.MULTILINE)


def test_another_package_named_agents_is_refused(tmp_path: Path) -> None:
    decoy = tmp_path / "agents"
    decoy.mkdir()
    (decoy / "__init__.py").write_text("raise AssertionError('imported')")

    error = start_error({**COMPLETE, "PYTHONPATH": str(tmp_path)})

    assert error == (
        f"the package 'agents' comes from {tmp_path}, not from this service; "
        "install the service into its own environment"
    )
