"""Partitions whose log may have been replaced (rule no-gaps-in-offsets)."""

from __future__ import annotations

from app.intake.suspects import ReadMessage, Suspects

P = ("pp-output", 0)
FIRST, SECOND = ReadMessage(0, 1000, 5), ReadMessage(1, 1001, 6)


def test_a_partition_is_suspect_after_its_connection_changed() -> None:
    """What is read over the new connection is no evidence: it may be of the other log."""
    suspects, connection = Suspects(), object()
    suspects.connected(P, connection)
    suspects.read(P, FIRST)
    suspects.connected(P, connection)
    assert suspects.found() == {}
    suspects.connected(P, object())
    suspects.read(P, SECOND)
    suspects.connected(P, object())
    assert suspects.found() == {P: FIRST}
    suspects.clear(P)
    assert suspects.found() == {}


def test_a_partition_of_which_nothing_was_read_is_not_suspect() -> None:
    suspects = Suspects()
    suspects.connected(P, object())
    suspects.connected(P, object())
    assert suspects.found() == {}


def test_a_partition_that_starts_anew_is_not_suspect() -> None:
    suspects = Suspects()
    suspects.connected(P, object())
    suspects.read(P, FIRST)
    suspects.connected(P, object())
    suspects.forget(P)
    suspects.connected(P, object())
    assert suspects.found() == {}
