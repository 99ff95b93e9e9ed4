"""Whether datasets are readable, when many of their artifacts are in one folder."""

from __future__ import annotations

from typing import Any

import pytest

from app.operations.presence import Presence
from testbed.writing import write_window
from tests.support.events import RUN, Night
from tests.support.repositories import Repository, decoded, written


def ids_by_path(event: dict[str, Any]) -> dict[str, str]:
    return {dataset["path"]: next(iter(dataset["refs"])) for dataset in event["datasets"]}


def test_an_artifact_that_a_listing_does_not_have_is_looked_for_by_itself(
    sqlite_repository: Repository,
) -> None:
    """Two files are gone, one is behind a link, another link leads nowhere."""
    events = [Night().event(detector=detector) for detector in range(2)]
    root = sqlite_repository.root
    for event in events:
        for dataset in event["datasets"]:
            dataset["path"] = f"{RUN}/all/{dataset['path'].rpartition('/')[2]}"
            (root / dataset["path"]).parent.mkdir(parents=True, exist_ok=True)
            (root / dataset["path"]).touch()
    ids = ids_by_path(events[0]) | ids_by_path(events[1])
    report = write_window(sqlite_repository.writer(), decoded(*events))
    for index in range(2):
        written(report, index)
    first, second, linked, broken, *_ = ids
    for path in (first, second, linked, broken):
        (root / path).rename(root / "elsewhere") if path == linked else (root / path).unlink()
    (root / linked).symlink_to(root / "elsewhere")
    (root / broken).symlink_to(root / "nowhere")
    readable = Presence(sqlite_repository.butler()).readable(ids.values())
    assert set(ids.values()) - readable == {ids[first], ids[second], ids[broken]}


@pytest.mark.parametrize("field", ["dataset_type_name", "run"])
def test_a_dataset_with_a_name_that_no_database_can_have_is_absent(
    repository: Repository, field: str
) -> None:
    """It was set aside, and is still in the topic that `audit` and `dead-letters` look through."""
    event = Night(repository.root).event()
    written(write_window(repository.writer(), decoded(event)), 0)
    (dataset_id, stored), *_ = event["datasets"][0]["refs"].items()
    presence = Presence(repository.butler())
    for name in (f"{stored[field]}\0", "\0", "never used"):
        given = {**stored, field: name}
        registered = presence.registered([(dataset_id, stored), (dataset_id, given)])
        assert registered.has(dataset_id, stored)
        assert not registered.has(dataset_id, given)
