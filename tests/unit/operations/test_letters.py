"""The content of a dead letter as text, whatever it is."""

from __future__ import annotations

import pytest

from app.operations.pages.letters import _as_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", ""),
        (b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'),
        (b"no JSON <b>", "no JSON <b>"),
        (b"\xff\x00", "\ufffd\x00"),
        (b"[" * 300 + b"]" * 300, "[" * 300 + "]" * 300),
    ],
    ids=["empty", "object", "text", "bytes", "deep"],
)
def test_any_content_is_shown_as_text(value: bytes, text: str) -> None:
    assert _as_text(value) == (text, False)


@pytest.mark.parametrize(
    "value", [b"x" * 10**6, b"[" + b"1," * 30_000 + b"1]"], ids=["raw", "json"]
)
def test_a_large_event_is_cut(value: bytes) -> None:
    text, is_cut = _as_text(value)
    assert is_cut
    assert len(text) == 64 * 1024
