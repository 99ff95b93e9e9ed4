"""Text for a terminal."""

from __future__ import annotations

import time

import pytest

from app.butler.descriptions import describe
from app.errors import OperatorError
from app.printable import printable, without_logins
from app.settings import SettingsError, load_settings
from app.telemetry.log import to_json


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@host/db", "postgresql://...@host/db"),
        ("postgresql+psycopg://me:p%40w@host:5432/db", "postgresql+psycopg://...@host:5432/db"),
        # SQLAlchemy takes these, too.
        ("postgresql://me:p/w@host/db", "postgresql://...@host/db"),
        ("postgresql://me:p@w:x@host/db", "postgresql://...@host/db"),
        ("postgresql://:pw@host/db", "postgresql://...@host/db"),
        (
            "postgresql://host/db?user=me&password=pw&x=1",
            "postgresql://host/db?user=me&password=...&x=1",
        ),
        ("HTTPS://me:pw@host/a and s3://k:pw@b/c", "HTTPS://...@host/a and s3://...@b/c"),
        ("['kafka://me:pw@a:9092', 'b']", "['kafka://...@a:9092', 'b']"),
        ("user=me password=pw host=h", "user=me password=... host=h"),
        (
            "postgresql://me@host/db s3://profile@bucket",
            "postgresql://me@host/db s3://profile@bucket",
        ),
        ("http://host:8080/a, b@c", "http://host:8080/a, b@c"),
    ],
)
def test_no_login_is_shown_wherever_a_uri_comes_from(text: str, shown: str) -> None:
    assert without_logins(text) == printable(text) == shown
    # In reasons, which are on /readyz, on the pages and in dead letters; and in log lines.
    assert describe(ValueError(text)) == describe(OperatorError(text)) == shown
    assert to_json({"repository": text}) == to_json({"repository": shown})


@pytest.mark.parametrize("text", ["://a:" * 200_000, "://" + "a:" * 500_000, "://" + ":" * 10**6])
def test_a_long_text_is_searched_for_logins_in_little_time(text: str) -> None:
    started = time.process_time()
    assert without_logins(text) == text
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("value", ["me:pw@host:9092", "kafka://me:pw@host", "a:1,me:pw@b:9092"])
def test_a_wrong_list_of_brokers_is_shown_without_a_login(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_CLUSTER", value)
    with pytest.raises(SettingsError, match="not host:port") as raised:
        load_settings()
    assert "pw" not in str(raised.value)
