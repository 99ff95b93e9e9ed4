"""Text for a terminal."""

from __future__ import annotations

import pytest

from app.printable import printable


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("run/a b", "run/a b"),
        ("\u00fc\u4e2d\U0001f52d", "\u00fc\u4e2d\U0001f52d"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u2028b", "a\\u2028b"),
        ("half \ud800", "half \\ud800"),
        ("a\\x1b", "a\\x1b"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_an_escape(text: str, printed: str) -> None:
    assert printable(text) == printed


def test_lines_may_be_kept() -> None:
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_a_login_in_a_uri_is_not_printed() -> None:
    text = "cannot open 'https://me:se:cret@host/repo'; s3://profile@bucket/key, a://b, me:x@host"
    assert printable(text) == text.replace("me:se:cret@", "...@")
