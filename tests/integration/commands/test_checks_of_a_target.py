"""What ``check`` says of a downstream repository if one thing is broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from app.kafka.connection import KafkaConnection
from app.operations.checks.all_items import all_items
from app.operations.checks.items import Item, Verdict
from testbed.kafka import ApacheKafka
from testbed.worker import faust_command
from tests.support.checked import item_named, settings_from, wrong_items
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream

HOUR_MS = 3_600_000

RULES = """\
- dataset_types: ["*_image"]
  embargo_hours: 80
- dataset_types: ["*"]
  embargo_hours: 0
"""


@dataclass
class Target:
    """A downstream repository with which nothing is wrong."""

    downstream: Downstream
    rules: Path

    async def items(self, **more: str) -> list[Item]:
        """Check it with further settings."""
        with settings_from({**self.downstream.environment, **more}) as settings:
            return await all_items(KafkaConnection.of(settings.kafka), settings)


@pytest.fixture(scope="module")
def target(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("target")
    source = Deployment(kafka, "checked-source", folder)
    kafka.create_topic(source.product_topic, max_message_bytes=11 * 2**20, retention_ms=-1)
    kafka.create_topic(f"{source.topic}-short-products", retention_ms=80 * HOUR_MS)
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    settings = {
        "BUTLER_WRITER_RULES": str(rules),
        "BUTLER_WRITER_DATA_DIRECTORY": str(folder / "data"),
    }
    return Target(Downstream(source, folder / "public", settings=settings), rules)


@pytest.mark.kafka
async def test_nothing_is_wrong_with_a_target(target: Target) -> None:
    items = await target.items()
    assert wrong_items(items) == []
    log = target.downstream.source.product_topic
    details = {
        f"source root file://{target.downstream.source.root}/": "",
        f"release rules {target.rules}": "2 rules for datasets, 0 for records",
        f"topic {log}: longer than the embargo": "the longest embargo is 80 h",
    }
    for name, detail in details.items():
        assert item_named(items, name) == Item(name, Verdict.OK, detail)
    assert not [item for item in items if "list directory" in item.name]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("changed", "name", "remedy"),
    [
        (
            {"BUTLER_WRITER_SOURCE_ROOT": "/nowhere"},
            "source root file:///nowhere/",
            "name a folder that exists and that this user may read",
        ),
        ({"BUTLER_WRITER_SOURCE_ROOT": ""}, "settings", "not set: BUTLER_WRITER_SOURCE_ROOT"),
        ({"BUTLER_REPOSITORY": "/nowhere"}, "database", "check BUTLER_REPOSITORY"),
        (
            {"BUTLER_WRITER_RULES": "/nowhere.yaml"},
            "release rules /nowhere.yaml",
            "/nowhere.yaml: cannot be read (No such file or directory): check path and",
        ),
        (
            {"BUTLER_WRITER_SOURCE_ROOT": "/dev/shm", "BUTLER_WRITER_TRANSFER": "hardlink"},
            "links from the source to file://",
            "set BUTLER_WRITER_TRANSFER=copy, or keep both on one file system",
        ),
        (
            {"KAFKA_TOPIC": "no-such"},
            "topic no-such-products",
            "it is the product log: check KAFKA_TOPIC, which is that of the source's workers",
        ),
        (
            {"KAFKA_TOPIC": "checked-source-short"},
            "topic checked-source-short-products: longer than the embargo",
            "set its retention.ms to more than 288000000",
        ),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
async def test_what_is_broken_is_named(
    target: Target, changed: dict[str, str], name: str, remedy: str
) -> None:
    items = wrong_items(await target.items(**changed))
    found = [item for item in items if item.name.startswith(name)]
    assert found, items
    assert remedy in found[0].detail


@pytest.mark.kafka
async def test_a_wrong_rule_is_named_with_file_and_line(target: Target, tmp_path: Path) -> None:
    rules = tmp_path / "wrong.yaml"
    rules.write_text(RULES.replace("80", "soon"))
    items = await target.items(BUTLER_WRITER_RULES=str(rules))
    (item,) = wrong_items(items)
    assert item.name == f"release rules {rules}"
    assert item.detail.startswith(f"{rules}:2:18: embargo_hours is 'soon': write a number")
    retention = item_named(
        items, f"topic {target.downstream.source.product_topic}: longer than the embargo"
    )
    assert (retention.verdict, retention.detail) == (
        Verdict.NOT_CHECKED,
        "it needs the release rules",
    )


@pytest.mark.kafka
@pytest.mark.parametrize(
    "command",
    [
        ("audit",),
        pytest.param(("rewind", "--offset=0"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_commands_for_the_events_of_pods_refuse_in_one_line(
    target: Target, command: tuple[str, ...]
) -> None:
    done = faust_command(target.downstream.environment, *command)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "BUTLER_WRITER_ROLE=replicate; run it with the environment variables of the" in line
