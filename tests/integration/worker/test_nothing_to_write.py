"""Messages of which a downstream repository can write nothing hold up no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from models.product import UniverseFields
from testbed.cluster import Cluster
from testbed.worker import faust_command
from tests.integration.worker.test_embargo import ids, metrics, stored
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events, selected
from tests.support.events import Night, dataset_ids

RULES = """
- dataset_types: ["post_isr_summary"]
  exclude: true
- dataset_types: ["*_metadata"]
  embargo_hours: 0
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "transfer", ["copy", *(pytest.param(t, marks=pytest.mark.slow) for t in ("direct", "in-place"))]
)
def test_messages_of_nothing_but_unknown_datasets_are_finished(
    broker: Cluster, topic_name: str, tmp_path: Path, transfer: str
) -> None:
    """Their files are gone, no rule lets them in, or what was sent is no message at all."""
    source = Deployment(broker, topic_name, tmp_path)
    night = Night(source.root)
    gone, known = log_events(source, [night.event(1, 0)], [night.event(2, 0)])
    for file in gone.datasets:  # it is the first message, and the target is empty
        (source.root / file["path"]).unlink()
    unknown = [str(uuid4()) for _ in range(3)]
    batch_id = str(uuid4())
    announcement = {
        "type": "batch-ingested",
        "batch_id": batch_id,
        "origin": "prompt_processing",
        "batch_file": f"2026-11-24T02-00-00-000000-{batch_id}.json",
    }
    (excluded,) = selected([known], "post_isr_summary")
    (without_rule,) = selected([known], "*_log")
    later = UniverseFields(namespace="daf_butler", version=known.universe["version"] + 1)
    files = [{**file, "refs": {}} for file in known.datasets]
    odd = {
        # What the publication service reads: an announcement, and the list that it names.
        orjson.dumps(announcement): b"invalid_event",
        orjson.dumps({"batch_id": batch_id, "datasets": unknown}): b"invalid_event",
        replace(known, universe=later).encode(): b"invalid_event",
        replace(known, datasets=files).encode(): b"invalid_event",
        excluded.encode(): None,
        without_rule.encode(): None,
        replace(known, datasets=[], dataset_types=[]).encode(): None,
        replace(known, datasets=[], dataset_types=[], dimension_records=[]).encode(): None,
    }
    expected = {gone.encode(): b"missing_source_file", **odd}
    for value in odd:
        broker.produce(source.product_topic, value, key=known.run.encode())
    (last,) = log_events(source, [night.event(3, 0)])

    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    downstream = Downstream(
        source,
        tmp_path / "public",
        settings={
            "BUTLER_WRITER_RULES": str(rules),
            "BUTLER_WRITER_TRANSFER": transfer,
            "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
            "BUTLER_WRITER_WINDOW_EVENTS": "1",
            "BUTLER_WRITER_LANES": "1",
        },
    )
    if transfer == "in-place":
        for file in [*known.datasets, *last.datasets]:
            path = downstream.root / file["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(source.root / file["path"])
    with downstream.worker() as worker:
        downstream.wait_done(180)
        assert stored(downstream) == ids(selected([known, last], "*_metadata"))
        assert metrics(worker)["waiting_messages"] == 0
        assert worker.status("/readyz") == 200
    letters = {
        letter.value: dict(letter.headers)["error_class"] for letter in downstream.dead_letters()
    }
    assert letters == {value: cause for value, cause in expected.items() if cause is not None}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_may_be_given_nothing_but_unknown_datasets(
    broker: Cluster, topic_name: str, tmp_path: Path
) -> None:
    """What is withdrawn before it comes does not come, and holds up nothing."""
    source = Deployment(broker, topic_name, tmp_path)
    night = Night(source.root)
    first = log_events(source, [night.event(1, 0)])
    downstream = Downstream(source, tmp_path / "public")
    with downstream.worker() as worker:
        downstream.wait_done(180)
        worker.term()
        assert worker.wait(120) == 0
        never = [str(each) for each in dataset_ids(night.event(2, 0))]
        arguments = ("--json", "products", "withdraw", *never, str(uuid4()), "--run", "no/such/run")
        done = faust_command(downstream.environment, *arguments)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["datasets"], found["files"], found["not_removed"]) == (0, 0, [])
        log_events(source, [night.event(2, 0)])
        last = log_events(source, [night.event(3, 0)])
        worker.start()
        downstream.wait_done(180)
        assert stored(downstream) == ids([*first, *last])
        assert metrics(worker)["excluded_datasets_totalwithdrawn"] == len(never)
    assert downstream.dead_letters() == []
    nowhere = ("--run", "no/such/run")
    for environment, command in (
        (downstream.environment, ("diff", str(source.root), *nowhere)),
        (source.environment, ("products", "rebuild", *nowhere)),
    ):
        done = faust_command(environment, *command)
        assert done.returncode == 2
        assert "--run no/such/run: there is no run or chain of this name" in done.stderr
        assert len(done.stderr.splitlines()) == 1
