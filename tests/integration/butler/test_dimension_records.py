"""The queries that the bulk insert makes before it inserts dimension records."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.writing import write_window
from tests.support.repositories import Repository, decoded, written


def test_the_query_system_is_asked_only_for_records_that_are_stored(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = repository.night()
    kind = type(repository.butler())
    query = kind.query
    asked = 0

    def counting(self: Any) -> Any:
        nonlocal asked
        asked += 1
        return query(self)

    writer = repository.writer()
    written(write_window(writer, decoded(night.event(visit=1))))
    monkeypatch.setattr(kind, "query", counting)
    window = decoded(*(night.event(visit=2, detector=detector) for detector in range(3)))
    report = write_window(writer, window)
    for index in range(3):
        written(report, index)
    assert asked == 0
    # A new writer has to compare all of them.
    report = write_window(repository.writer(), window)
    written(report)
    assert asked > 0
    assert report.mismatched_records == 0
