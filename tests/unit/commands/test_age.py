"""Options that are ages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from app.commands.age import Age


@pytest.mark.parametrize(
    ("text", "age"),
    [("90m", timedelta(minutes=90)), ("80h", timedelta(hours=80)), ("1d", timedelta(days=1))],
)
def test_an_age_is_a_number_and_its_unit(text: str, age: timedelta) -> None:
    assert Age().convert(text, None, None) == age


def test_the_highest_age_is_a_time_that_can_be_named() -> None:
    assert (datetime.now(UTC) - Age().convert("99999d", None, None)).year > 1


@pytest.mark.parametrize("text", ["", "1", "d", "1w", "-1d", "1.5h", "999999d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not an age of up to five digits, such as 90m"):
        Age().convert(text, None, None)
