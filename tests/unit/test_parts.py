"""The parts that a flush is made with."""

from __future__ import annotations

from typing import Any, cast

import pytest

from app.announce.product_log import ProductLog
from app.intake.windows import WindowBounds
from app.parts import Lane, Parts, new_intake, tumbling_boundary


@pytest.fixture
def parts() -> Parts:
    unused: Any = object()
    return Parts(
        intake=new_intake(WindowBounds(1.0, 500, 1000), 1000),
        lanes=[Lane(writer=unused, chain_keeper=unused, reports=unused) for _ in range(2)],
        product_log=ProductLog(1000),
        sender=unused,
        database_look=unused,
        list_directory="",
        max_event_bytes=1,
        retry_wait_max=1.0,
    )


def test_each_lane_has_one_thread(parts: Parts) -> None:
    """Two threads must not share a Butler (rule bounded-database-calls)."""
    assert [cast("Any", lane.thread)._max_workers for lane in parts.lanes] == [1, 1]
    assert parts.lanes[0].thread is not parts.lanes[1].thread
    parts.shut_down()


@pytest.mark.parametrize(
    ("now", "boundary"), [(10.0, 12.0), (11.5, 12.0), (11.95, 12.0), (12.0, 14.0)]
)
def test_a_tumbling_window_ends_at_the_next_multiple_of_its_length(
    now: float, boundary: float
) -> None:
    assert tumbling_boundary(2.0)(now) == boundary
