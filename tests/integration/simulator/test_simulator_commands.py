"""The simulator's commands for existing servers, as Docker Compose uses them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from models.prompt_output import PromptOutput
from simulator.check import check
from simulator.commands import main
from simulator.night import Night
from testbed.embedded import EmbeddedBroker
from testbed.ports import free_port
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker

Run = Callable[..., Result]

#: A short night: two visits of four detectors, in a second.
NIGHT = ("--visits=2", "--detectors=4", "--cadence=0.5")


@pytest.fixture
def environment(embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path) -> dict[str, str]:
    """The environment variables of a worker and of the simulator."""
    return {
        "BUTLER_REPOSITORY": str(tmp_path / "repository"),
        "KAFKA_CLUSTER": embedded_broker.bootstrap,
        "KAFKA_TOPIC": topic_name,
        "KAFKA_OUTPUT_TOPIC": f"{topic_name}-ingested",
    }


@pytest.fixture
def root(environment: dict[str, str]) -> Path:
    """Root of a repository that does not exist yet."""
    return Path(environment["BUTLER_REPOSITORY"])


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Runs a command in that environment."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=environment)

    return run


def test_prepare_creates_topics_and_repository(
    run: Run, root: Path, topic_name: str, embedded_broker: EmbeddedBroker
) -> None:
    done = run("prepare", "--partitions=3")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        f"created topic {topic_name}",
        f"created topic {topic_name}-ingested",
        f"created repository {root}",
    ]
    topics = embedded_broker.topics()
    assert (topics[topic_name], topics[f"{topic_name}-ingested"]) == (3, 1)
    butler = Butler.from_config(str(root))
    assert len(butler.query_dimension_records("detector", limit=None)) == 189


def test_prepare_does_not_change_existing_topics_and_repositories(
    run: Run, root: Path, topic_name: str, embedded_broker: EmbeddedBroker
) -> None:
    assert run("prepare", "--partitions=3").exit_code == 0
    run("send", *NIGHT)
    config = (root / "butler.yaml").stat()
    again = run("prepare", "--partitions=5")
    assert (again.exit_code, again.output) == (0, "")
    assert embedded_broker.topics()[topic_name] == 3
    assert len(embedded_broker.consume(topic_name)) == 8
    assert (root / "butler.yaml").stat() == config


def test_prepare_can_be_repeated_after_an_interruption(run: Run, root: Path) -> None:
    Butler.makeRepo(str(root))
    assert run("prepare").exit_code == 0
    night = Night(universe=Butler.from_config(str(root)).dimensions)
    registered = Butler.from_config(str(root)).registry.queryDatasetTypes()
    assert {kind.name for kind in registered} >= {kind.name for kind in night.dataset_types}


def test_prepare_leaves_no_incomplete_repository(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object, **__: object) -> None:
        raise RuntimeError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(Butler, "_make_repo_registry", break_off)
        assert run("prepare").exit_code == 1
    assert run("prepare").output == f"created repository {root}\n"


def test_prepare_installs_the_extension_that_the_butler_needs_in_postgresql(
    run: Run, root: Path, postgresql: PostgreSQL
) -> None:
    url = postgresql.create_database("made_by_prepare", extensions=())
    try:
        for _ in range(2):
            done = run("prepare", "--database", url)
            assert done.exit_code == 0, done.output
        assert url in (root / "butler.yaml").read_text()
    finally:
        postgresql.drop_database("made_by_prepare")


def test_send_sends_every_event_and_stores_its_artifacts(
    run: Run, root: Path, topic_name: str, embedded_broker: EmbeddedBroker
) -> None:
    run("prepare", "--partitions=3")
    done = run("send", *NIGHT, "--duplicates=1", "--day-obs=2027-01-02")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "night: events=8 spoiled=0 messages=16"
    sent = embedded_broker.consume(topic_name)
    assert {message.partition for message in sent} <= {0, 1, 2}
    events = [PromptOutput.decode(message.value) for message in sent]
    assert (len(events), len({event.event_id for event in events})) == (16, 8)
    for event in events:
        for dataset in event.datasets:
            assert dataset["path"].startswith("LSSTCam/prompt/output-2027-01-02/")
            assert (root / dataset["path"]).exists()


def test_send_can_store_artifacts_in_a_staging_area(
    run: Run, root: Path, topic_name: str, embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    run("prepare")
    (tmp_path / "staging").mkdir()
    done = run("send", *NIGHT, f"--staging={tmp_path / 'staging'}")
    assert done.exit_code == 0, done.output
    assert not (root / "LSSTCam").exists()
    for message in embedded_broker.consume(topic_name):
        event = PromptOutput.decode(message.value)
        assert event.staging is not None
        for dataset in event.datasets:
            assert ResourcePath(event.staging).join(dataset["path"]).exists()


def test_events_sent_to_a_prepared_cluster_are_written_into_the_butler(
    run: Run,
    environment: dict[str, str],
    root: Path,
    topic_name: str,
    embedded_broker: EmbeddedBroker,
    tmp_path: Path,
) -> None:
    run("prepare", "--partitions=2")
    group = f"writer-{topic_name}"
    settings = {
        # The worker creates the folder.
        "OUTPUT_DATASET_LIST_DIRECTORY": str(tmp_path / "lists"),
        "BUTLER_WRITER_KAFKA_GROUP": group,
        "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "8",
    }
    with Worker({**environment, **settings}) as worker:
        worker.wait_ready()
        assert run("send", *NIGHT).exit_code == 0
        wait_until(
            lambda: sum(embedded_broker.committed(group, topic_name).values()) == 8,
            60,
            worker.log_text,
        )
    night = Night(visits=2, detectors=4, cadence=0.5)
    sent = {output.ref.id: output for _, pod in night.pods() for output in pod.outputs}
    assert check(root, night, sent).complaints == []
    assert list((tmp_path / "lists").glob("*.json"))


def test_send_reports_a_missing_topic_in_one_line(run: Run, root: Path, topic_name: str) -> None:
    root.mkdir()
    done = run("send", *NIGHT)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1] == f"Error: there is no topic {topic_name}"


@pytest.mark.parametrize("command", ["prepare", "send"])
def test_commands_report_in_one_line_that_kafka_does_not_answer(
    command: str, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.cluster._REQUEST_TIMEOUT", 1.0)
    root.mkdir()
    done = run(command, f"--bootstrap=127.0.0.1:{free_port()}")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("Error: Kafka: ")


def test_a_night_ends_as_soon_as_a_pod_fails(
    run: Run, root: Path, topic_name: str, embedded_broker: EmbeddedBroker
) -> None:
    embedded_broker.create_topic(topic_name)
    root.mkdir()
    (root / "LSSTCam").write_text("a file, so no artifact can be written here")
    begin = time.monotonic()
    done = run("send", "--visits=100", "--detectors=1", "--cadence=5")
    assert done.exit_code == 1
    assert "LSSTCam" in done.output.splitlines()[-1]
    assert time.monotonic() - begin < 30
