"""What commands print: plain columns if piped, tables on a terminal, one document with --json."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from app.commands.item_list import show_items
from app.commands.output import Output
from app.errors import exit_with
from app.operations.checks.items import Item, Verdict

HEADERS, ROWS = ("item", "value"), [("a longer one", 1), ("[red]x", None)]


def output(*, as_json: bool = False, quiet: bool = False) -> Output:
    return Output(SimpleNamespace(json=as_json, quiet=quiet))


def test_a_table_that_is_piped_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output().table(HEADERS, ROWS)
    assert capsys.readouterr().out == "item          value\na longer one  1\n[red]x\n"


def test_a_table_on_a_terminal_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    output().table(HEADERS, ROWS)
    printed = capsys.readouterr().out
    assert "┃" in printed
    assert "[red]x" in printed


@pytest.mark.parametrize("quiet", [True, False])
def test_with_json_only_the_document_is_printed(
    capsys: pytest.CaptureFixture[str], *, quiet: bool
) -> None:
    own = output(as_json=True, quiet=quiet)
    own.table(HEADERS, ROWS)
    own.line("text")
    own.document({"a": 1})
    assert capsys.readouterr().out == ("" if quiet else '{"a": 1}\n')


def test_progress_that_is_piped_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with output().progress("events") as show:
        for done in range(1, 2500):
            show(done, 2499)
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["1000 of 2499 events", "2000 of 2499 events"]
    assert printed.out == ""


def test_progress_on_a_terminal_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    own = output()
    with own.progress("events") as show:
        show(1, 2)
        own.line("piped")
    printed = capsys.readouterr()
    assert "1/2" in printed.err
    assert printed.out == "piped\n"


OK, AWAY = Item("a", Verdict.OK), Item("b", Verdict.NOT_CHECKED, "away")


@pytest.mark.parametrize(
    ("items", "exit_code"),
    [
        ([OK], 0),
        ([OK, AWAY], 2),
        ([AWAY, Item("c", Verdict.WRONG, "remedy")], 1),
        ([Item("d", Verdict.NOT_CHECKED, "may not ask", counts=False)], 0),
    ],
)
def test_the_exit_code_tells_wrong_from_away(
    capsys: pytest.CaptureFixture[str], items: list[Item], exit_code: int
) -> None:
    assert show_items(output(as_json=True), items) == exit_code
    document = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in document["items"]] == [item.name for item in items]


def test_nothing_that_is_printed_is_obeyed_by_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "run\x1b[2J\x9b\u202e\r"
    shown = "run\\x1b[2J\\x9b\\u202e\\r"
    own = output()
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda at=is_terminal: at, raising=False)
        own.line(f"{hostile}\n")
        own.table(HEADERS, [(hostile, hostile)])
        own.text(f"{hostile}\n\tand more")
        own.problem(hostile)
        output(as_json=True).document({"run": hostile})
        with pytest.raises(SystemExit):
            exit_with(hostile, 1)
        printed = capsys.readouterr()
        for text in (printed.out, printed.err):
            assert shown in text
            # Rich itself makes headers bold.
            assert [part for part in ("\x1b[2J", "\x9b", "\u202e", "\r") if part in text] == []
        assert f"{shown}\n\tand more" in printed.out
