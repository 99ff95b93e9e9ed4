"""Regular expressions of the settings are matched in linear time."""

from __future__ import annotations

import time

import pytest

from app.butler.policy import Expression, WritePolicy

CHAIN = WritePolicy().chain_pattern

#: Python's `re` needs hours for it: it tries each of the dates as the last one.
QUADRATIC = "a" + "/prompt/output-1111-11-11/" * 60_000 + "\n" * 60_000


@pytest.mark.parametrize(
    ("run", "chain"),
    [
        ("LSSTCam/prompt/output-2025-09-12/ISR/pipelines-1", "LSSTCam/prompt/output-2025-09-12"),
        ("a/prompt/output-2025-09-12/b/prompt/output-2025-09-13/c", None),
        ("LSSTCam/prompt/output-2025-09-12", None),
        ("LSSTCam/prompt/output-2025-09-12/", None),
        ("u/someone/run", None),
        ("ü/prompt/output-2025-09-12/run", "ü/prompt/output-2025-09-12"),
    ],
)
def test_the_default_pattern_finds_the_chain_of_a_run(run: str, chain: str | None) -> None:
    assert CHAIN is not None
    if run.count("output") > 1:
        chain = run.removesuffix("/c")
    assert CHAIN.find("chain", run) == chain


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(CHAIN.pattern if CHAIN else "", QUADRATIC), (r"^(a|a)*$", "a" * 100_000 + "b")],
)
def test_no_text_takes_long(pattern: str, text: str) -> None:
    expression = Expression(pattern)
    started = time.process_time()
    assert not expression.matches(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("pattern", [r"^(?P<chain>.+)(?=/x)", r"(a)\1", r"(?<!a)b", r"(?(1)a|b)"])
def test_an_expression_that_cannot_be_matched_in_linear_time_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"which can take for ever|not a regular expression") as e:
        Expression(pattern)
    assert "\n" not in str(e.value)
