"""Regular expressions of the settings are matched in linear time."""

from __future__ import annotations

import time

import pytest

from app.butler.allowed.elements import ANY_ELEMENT
from app.butler.events.limits import EventLimits
from app.butler.policy import Expression, ReplicaPolicy, WritePolicy
from app.butler.repository.new_types import NewTypes
from app.settings.kafka import LARGEST_EVENT

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


def test_what_pods_may_name_does_not_restrict_a_downstream_repository() -> None:
    strict = WritePolicy(
        allowed_runs="none", allowed_chains="none", new_dataset_types="none", lock_timeout=3
    )
    policy = ReplicaPolicy(source_root="/source").policy_of(strict)
    for pattern in (policy.allowed_runs, policy.allowed_chains):
        assert pattern is not None
        assert pattern.matches("LSSTCam/raw/all")
    assert policy.allowed_elements == (ANY_ELEMENT,)
    with NewTypes(policy.new_dataset_types or 0).registering(["a"] * 1000):
        pass
    assert not policy.paths_below_run
    assert [root.ospath for root in policy.staging_roots] == ["/source/"]
    assert (policy.allowed_formatters, policy.lock_timeout) == (strict.allowed_formatters, 3)
    limits = EventLimits.without_any()
    assert all(getattr(limits, name) > LARGEST_EVENT for name in EventLimits.model_fields)
