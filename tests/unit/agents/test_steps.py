"""The steps of a flush."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.steps import until_done
from app.intake.windows import Window


class Laden:
    """Has a step, and holds what a window may hold."""

    def __init__(self) -> None:
        self.taken = 0

    def __repr__(self) -> str:
        raise AssertionError("the text of a whole window takes longer than its write")

    async def step(self) -> None:
        self.taken += 1


def test_a_step_is_taken_without_a_look_at_what_its_window_holds() -> None:
    laden, window = Laden(), Window[Any](opened_at=0, closes_at=0, epoch=0)

    asyncio.run(until_done(window, laden.step))

    assert laden.taken == 1
