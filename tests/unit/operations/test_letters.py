"""The newest letters of several partitions, and the content of one as text."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from app.operations.pages.letters.detail import _as_text, _indented
from app.operations.pages.letters.newest import MOST, shares


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", ""),
        (b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'),
        (b'{"a": {}, "b":[ ]}', '{\n  "a": {},\n  "b": []\n}'),
        (b'{"a":1.0e9,"a":1.10}', '{\n  "a": 1.0e9,\n  "a": 1.10\n}'),
        (rb'["\\\"]{,:", 18446744073709551617]', '[\n  "\\\\\\"]{,:",\n  18446744073709551617\n]'),
        (b"no JSON <b>", "no JSON <b>"),
        (b"\xff\x00", "\ufffd\x00"),
        (b"[" * 300 + b"]" * 300, "[" * 300 + "]" * 300),
    ],
    ids=["empty", "object", "empty-values", "as-sent", "in-strings", "text", "bytes", "deep"],
)
def test_any_content_is_shown_as_text(value: bytes, text: str) -> None:
    assert _as_text(value) == (text, False)


def test_a_harmful_event_is_shown_as_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orjson, "loads", None)
    assert _as_text(b'{"a":[1]}', may_decode=False) == ('{"a":[1]}', False)


@pytest.mark.parametrize(
    "value", [b"x" * 10**6, b"[" + b"1," * 30_000 + b"1]"], ids=["raw", "json"]
)
def test_a_large_event_is_cut(value: bytes) -> None:
    text, is_cut = _as_text(value)
    assert is_cut
    assert len(text) == 64 * 1024


@pytest.mark.parametrize(
    ("available", "read"),
    [
        ({0: 5}, {0: 5}),
        ({0: 20_000}, {0: MOST}),
        ({0: 20_000, 1: 0, 2: 0}, {0: MOST}),
        ({0: 150, 1: 20_000, 2: 10}, {0: 95, 1: 95, 2: 10}),
        (dict.fromkeys(range(300), 7), dict.fromkeys(range(200), 1)),
    ],
    ids=["few", "many", "in-one", "shared", "many-partitions"],
)
def test_the_newest_letters_are_read_wherever_they_are(
    available: dict[int, int], read: dict[int, int]
) -> None:
    assert shares(available) == read


def test_lists_within_lists_are_cut_before_their_indents_take_memory() -> None:
    """Each of the 30,000 numbers would have a line of 400 spaces."""
    value = b"[" * 200 + b"1," * 30_000 + b"1" + b"]" * 200
    text, is_cut = _as_text(value)
    assert is_cut
    assert len(text) == 64 * 1024
    tracemalloc.start()
    _indented(value.decode())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20
