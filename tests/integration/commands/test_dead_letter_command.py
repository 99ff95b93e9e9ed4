"""``faust -A app dead-letters``: lists, shows and replays events that were set aside."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from confluent_kafka import TopicPartition
from lsst.daf.butler import Butler, DatasetType

from app.settings import MIB
from models.causes import Cause
from models.dead_letter import DeadLetter
from testbed.cluster import Cluster
from testbed.worker import faust_command
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, encode


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


@pytest.fixture(scope="module")
def empty_letters(kafka: Cluster) -> dict[str, str]:
    """Return the environment of a deployment without dead letters; no worker runs in it."""
    kafka.create_topic("empty-dead-letters")
    return {
        "BUTLER_REPOSITORY": "none",
        "KAFKA_CLUSTER": kafka.bootstrap,
        "KAFKA_TOPIC": "empty",
        "KAFKA_OUTPUT_TOPIC": "none",
        "OUTPUT_DATASET_LIST_DIRECTORY": "none",
    }


def command(deployment: Deployment, *arguments: str) -> CompletedProcess[str]:
    return faust_command(deployment.environment, "dead-letters", *arguments)


def as_json(deployment: Deployment, *arguments: str) -> CompletedProcess[str]:
    return faust_command(deployment.environment, "--json", "dead-letters", *arguments)


def test_events_are_written_when_replayed_after_their_cause_is_fixed(
    deployment: Deployment,
) -> None:
    night = Night(deployment.root)
    unknown = night.event(1, 1)
    for ref in unknown["datasets"][0]["refs"].values():
        ref["dataset_type_name"] = "not_yet"
    lost = night.event(1, 2)
    lost["datasets"][0]["path"] += ".lost"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(unknown, lost)
        deployment.wait_done()

        listed = command(deployment, "list").stdout
        assert "2 dead letters" in listed
        assert "unknown_dataset_type" in listed
        assert f"{deployment.topic}-0@0" in listed
        only = command(deployment, "list", "--error-class", "missing_file").stdout
        assert "1 dead letters: missing_file 1" in only
        shown = command(deployment, "show", "0-0").stdout
        assert json.loads(shown[shown.rindex('{"type"') :]) == unknown
        (row,) = json.loads(as_json(deployment, "show", "0-0").stdout)
        assert json.loads(row["event"]) == unknown
        assert (row["name"], row["error_class"]) == ("0-0", "unknown_dataset_type")

        butler = Butler.from_config(str(deployment.root), writeable=True)
        dimensions = butler.get_dataset_type("isr_log").dimensions
        butler.registry.registerDatasetType(
            DatasetType("not_yet", dimensions, "StructuredDataDict")
        )
        assert "replayed 2 events" in command(deployment, "replay", "--all").stdout
        deployment.wait_done()

    found = deployment.fresh_butler().get_many_datasets(dataset_ids(unknown))
    assert {ref.id for ref in found} == dataset_ids(unknown)
    still_open = command(deployment, "list").stdout
    assert "2 dead letters: missing_file 2\n1 more were written since" in still_open
    listed = command(deployment, "list", "--all").stdout
    assert "3 dead letters" in listed
    assert f"{deployment.topic}-0@0  (written since)" in listed
    assert f"{deployment.topic}-0@3  (replayed 1 times)" in listed
    rows = json.loads(as_json(deployment, "list", "--all").stdout)
    assert [row["written"] for row in rows] == [True, False, False]
    assert rows[0]["name"] == "0-0"
    again = command(deployment, "replay", "--all").stdout
    assert "skipped 1 letters whose event was written since" in again
    mistyped = command(deployment, "list", "--error-class", "missing-file")
    assert mistyped.returncode == 2
    assert "no letter has the error class 'missing-file'; the causes are" in mistyped.stderr


def test_replay_all_sends_an_event_once_even_if_it_has_several_letters(
    deployment: Deployment,
) -> None:
    with deployment.worker() as worker:
        worker.wait_ready()
        bad = [Night(deployment.root).event(1, detector) for detector in range(2)]
        for event in bad:
            event["datasets"][0]["path"] += ".lost"
        deployment.send(*bad)
        for letters in (2, 4):
            deployment.wait_done()
            assert len(deployment.dead_letters()) == letters
            assert "replayed 2 events" in command(deployment, "replay", "--all").stdout
    headers = [dict(message.headers) for message in deployment.cluster.consume(deployment.topic)]
    assert [h.get("replays") for h in headers] == [None] * 2 + [b"1"] * 2 + [b"2"] * 2


@pytest.mark.slow
def test_a_letter_that_points_to_its_event_is_shown_and_replayed_whole(
    deployment: Deployment,
) -> None:
    """An event that looks like a pointer is shown and replayed as it is."""
    limit = 100_000
    large = encode(Night().event(1, 1, comment="x" * (limit + 2 * MIB)))
    lookalike = b'{"type": "dead-letter-pointer", "sha256": "0"}'
    settings = {"BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES": str(limit)}
    deployment.settings.update(settings)
    with deployment.worker() as worker:
        worker.wait_ready()
        for value in (large, lookalike):
            deployment.cluster.produce(deployment.topic, value)
        deployment.wait_done()
        assert b"pointer" in (deployment.dead_letters()[0].value or b"")
        assert large.decode() in command(deployment, "show", "0-0").stdout
        assert lookalike.decode() in command(deployment, "show", "0-1").stdout
        twice = as_json(deployment, "replay", "0-0", "0-1", "0-0")
        assert json.loads(twice.stdout) == {
            "replayed": ["0-0", "0-1"],
            "skipped": {},
            "problems": {},
        }
        deployment.wait_done()
    messages = deployment.cluster.consume(deployment.topic)
    assert [m.value for m in messages] == [large, lookalike, large, lookalike]

    rest = TopicPartition(deployment.topic, 0, 3)
    deployment.cluster.admin.delete_records([rest])[rest].result(20)
    lost = command(deployment, "replay", "--all")
    assert lost.returncode == 2
    reason = f"{deployment.topic}-0 no longer has the event at offset 2"
    assert f"0-2  {reason}" in lost.stderr
    assert "replayed 0 events\nskipped 1 letters that hold no event" in lost.stdout


@pytest.fixture(scope="module")
def letters_of_two_versions(kafka: Cluster, empty_letters: dict[str, str]) -> dict[str, str]:
    """Return the environment of a deployment with letters of this version and of earlier ones."""
    topic = "two-versions"
    kafka.create_topic(f"{topic}-dead-letters")
    for error_class in ("InvalidEventError", "invalid_event", "conflict", "SomeOlderError"):
        letter = DeadLetter.of((topic, 0), 7, Cause.UNKNOWN, "the reason")
        letter.error_class = error_class
        kafka.produce(f"{topic}-dead-letters", b"{}", headers=letter.headers())
    return {**empty_letters, "KAFKA_TOPIC": topic}


@pytest.mark.parametrize(
    ("error_class", "expected"),
    [
        ("invalid_event", ["InvalidEventError", "invalid_event"]),
        ("InvalidEventError", ["InvalidEventError", "invalid_event"]),
        ("ConflictingDefinitionError", ["conflict"]),
        ("SomeOlderError", ["SomeOlderError"]),
        ("missing_file", []),
    ],
)
def test_letters_are_selected_by_the_current_and_the_former_name_of_a_cause(
    letters_of_two_versions: dict[str, str], error_class: str, expected: list[str]
) -> None:
    listed = faust_command(
        letters_of_two_versions, "dead-letters", "list", "--error-class", error_class
    )
    *rows, summary = listed.stdout.splitlines()
    assert [row.split()[2] for row in rows] == expected
    assert summary.startswith(f"{len(expected)} dead letters")


@pytest.mark.parametrize("arguments", [["list"], ["list", "--all"], ["replay", "--all"]])
def test_a_mistyped_cause_is_an_error_of_each_action(
    letters_of_two_versions: dict[str, str], arguments: list[str]
) -> None:
    refused = faust_command(
        letters_of_two_versions, "dead-letters", *arguments, "--error-class", "missing_fil"
    )
    assert refused.returncode == 2
    assert "no letter has the error class 'missing_fil'; the causes are" in refused.stderr
    assert refused.stdout == ""


def test_messages_that_are_not_dead_letters_are_skipped(deployment: Deployment) -> None:
    with deployment.worker() as worker:
        worker.wait_ready()
    deployment.cluster.produce(deployment.dead_letter_topic, b"whose is this?")
    listed = command(deployment, "list")
    assert "0 dead letters" in listed.stdout
    assert "not a dead letter of this service" in listed.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["show", "0-7"], "no such letters: 0-7"),
        (["replay", "9-0", "0-999999999999999999"], "no such letters: 9-0, 0-999999999999999999"),
        (["show", "seven"], "not the name of a letter (PARTITION-OFFSET): seven"),
        (["show"], "name the letters to show"),
        (["replay"], "name the letters to replay, or give --all"),
        (["replay", "0-0", "--all"], "name the letters to replay, or give --all"),
        (
            ["show", "0-0", "--error-class", "conflict"],
            "name letters or give --error-class, not both",
        ),
        (
            ["list", "0-0", "--error-class", "conflict"],
            "name letters or give --error-class, not both",
        ),
        (
            ["show", "0-0", "--all"],
            "show takes the names of letters; --all is an option of list and replay",
        ),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(
    empty_letters: dict[str, str], arguments: list[str], reason: str
) -> None:
    refused = faust_command(empty_letters, "--json", "dead-letters", *arguments)
    assert refused.returncode == 2
    assert refused.stderr == f"butler-writer: {reason}\n"
    assert json.loads(refused.stdout) == {"error": reason}


def test_a_quiet_command_prints_nothing(empty_letters: dict[str, str]) -> None:
    listed = faust_command(empty_letters, "--quiet", "dead-letters", "list")
    assert (listed.returncode, listed.stdout) == (0, "")


def test_a_missing_topic_is_named_and_not_created(
    kafka: Cluster, empty_letters: dict[str, str]
) -> None:
    refused = faust_command({**empty_letters, "KAFKA_TOPIC": "nowhere"}, "dead-letters", "list")
    assert refused.returncode == 2
    assert refused.stderr.startswith("butler-writer: there is no topic nowhere-dead-letters")
    assert len(refused.stderr.splitlines()) == 1
    assert "nowhere-dead-letters" not in kafka.topics()
