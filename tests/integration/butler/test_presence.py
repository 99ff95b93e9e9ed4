"""Whether datasets are readable, when many of their artifacts are in one folder."""

from __future__ import annotations

from typing import Any

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
