"""The templates: hostile text stays text, links are relative, and nothing comes from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from app.operations.pages.chains import ChainsDocument
from app.operations.pages.documents import FlowState, WindowDocument
from app.operations.pages.letters.documents import LetterDetailDocument, LettersDocument
from app.operations.pages.waiting import WaitingDocument
from app.telemetry.labels import Step
from app.web.rendering import STATIC, render
from tests.unit.web.documents import NOW, every_page, overview

HOSTILE = (
    "\"><script>alert(1)</script><img src=x onerror='alert(2)'>{{ 7 * 7 }}\u202e\x00javascript:"
)

PAGES = sorted(every_page(""))


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [
            value or ""
            for _, attributes in self.found
            for name, value in attributes.items()
            if name in ("href", "src")
        ]


def rendered(template: str, text: str) -> Elements:
    document, options = every_page(text)[template]
    return Elements(render(template, shown=document, **options))


@pytest.mark.parametrize("template", PAGES)
def test_hostile_text_stays_text(template: str) -> None:
    harmless, hostile = rendered(template, "x"), rendered(template, HOSTILE)
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in harmless.found]
    assert [sorted(each) for _, each in hostile.found] == [
        sorted(each) for _, each in harmless.found
    ]
    assert "<script>alert(1)</script>" in hostile.text
    assert "{{ 7 * 7 }}" in hostile.text


@pytest.mark.parametrize("template", PAGES)
def test_text_that_reorders_a_line_is_shown_as_what_it_is(template: str) -> None:
    document, options = every_page("a\u202eb\x07<i>")[template]
    html = render(template, shown=document, **options)
    assert "\u202e" not in html
    assert "\x07" not in html
    assert "a\\u202eb\\x07&lt;i&gt;" in html


@pytest.mark.parametrize("template", PAGES)
def test_no_script_and_no_style_is_in_the_text_of_a_page(template: str) -> None:
    page = rendered(template, "x")
    for tag, attributes in page.found:
        assert tag != "style"
        assert tag != "script" or attributes["src"]
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("template", PAGES)
def test_a_page_works_below_any_prefix_and_loads_nothing_from_elsewhere(template: str) -> None:
    _, options = every_page("x")[template]
    root = "../" if options.get("depth") else "./"
    page = rendered(template, "x")
    assert not [link for link in page.links() if link.startswith("/")]
    for tag, attributes in page.found:
        if (source := attributes.get("src") or (tag == "link" and attributes["href"])) is False:
            continue
        if source is not None:
            assert str(source).startswith(f"{root}static/")
            assert (STATIC / str(source).rpartition("/")[2]).is_file()


def test_a_worker_cannot_make_a_link_to_a_script() -> None:
    page = Elements(render("overview", shown=overview("javascript:alert(1)"), page=""))
    assert not [link for link in page.links() if link.startswith("javascript:")]


@pytest.mark.parametrize(
    ("state", "heading"),
    [
        (FlowState.FLOWING, "Events are being written"),
        (FlowState.IDLE, "No event is pending"),
        (FlowState.IMPAIRED, "Something needs attention"),
        (FlowState.STOPPED, "Events are not being written"),
    ],
    ids=str,
)
def test_the_heading_says_whether_events_are_written(state: FlowState, heading: str) -> None:
    html = render("overview", shown=overview(state=state, reasons=[]), page="")
    assert f"<h1>{heading}</h1>" in html
    assert f"<title>{heading} · Butler Writer</title>" in html


@pytest.mark.parametrize("template", ["overview", "windows", "chains", "letters", "workers"])
def test_the_title_of_a_tab_says_whether_events_are_written(template: str) -> None:
    document, options = every_page("x")[template]
    signs = {FlowState.FLOWING: "✓", FlowState.IDLE: "✓", FlowState.IMPAIRED: "!"}
    for state in FlowState:
        html = render(template, shown=document, state=state, **options)
        assert f"<title>{signs.get(state, '✕')} " in html


def test_a_page_shows_whether_events_are_written_and_leads_there() -> None:
    document, options = every_page("x")["windows"]
    html = render("windows", shown=document, state=FlowState.STOPPED, **options)
    assert 'id="state" class="state bad" href="./"' in html
    assert "Events are not being written" in html
    assert 'id="state"' not in render("windows", shown=document, **options)


def test_what_is_not_known_is_a_dash() -> None:
    shown = overview(
        lag=None, latency_p50=None, latency_p99=None, oldest_pending=None, workers=[], partitions=[]
    )
    html = render("overview", shown=shown, page="")
    assert "<strong>\N{EN DASH}</strong>" in html
    assert "No partition is known." in html


@pytest.mark.parametrize(("lag", "is_said"), [(0, True), (5, False), (None, False)])
def test_only_without_lag_no_event_is_pending(lag: int | None, is_said: bool) -> None:
    shown = overview(lag=lag, oldest_pending=None, state=FlowState.STOPPED)
    html = render("overview", shown=shown, page="")
    assert ("none is pending" in html) is is_said


def test_a_name_that_would_lead_a_browser_upwards_is_no_link() -> None:
    document, options = every_page("../../logout")["chains"]
    page = Elements(render("chains", shown=document, **options))
    assert "../../logout" in page.text
    assert not [link for link in page.links() if "logout" in link]
    document, options = every_page("a/..b?c#d%2F")["chains"]
    page = Elements(render("chains", shown=document, **options))
    assert "./chains/a/..b%3Fc%23d%252F" in page.links()


@pytest.mark.parametrize("name", ["a\nb", "x" * 2001, "\N{GREEK SMALL LETTER ALPHA}" * 1001])
def test_a_name_that_is_not_looked_for_is_no_link(name: str) -> None:
    document, options = every_page(name)["chains"]
    page = Elements(render("chains", shown=document, **options))
    assert name in page.text
    assert not [link for link in page.links() if link.startswith("./chains/")]


def test_the_page_says_how_many_chains_it_leaves_out() -> None:
    document, options = every_page("x")["chains"]
    assert isinstance(document, ChainsDocument)
    many = replace(document, total=5000, chains=[document.chains[0]] * 1000)
    html = render("chains", shown=many, **options)
    assert "500 of 5,000 are shown" in html
    assert html.count('href="./chains/x"') == 500
    assert "are shown" not in render("chains", shown=replace(document, total=1), **options)


def test_what_is_not_there_and_what_is_not_known_differ() -> None:
    for status, heading in ((404, "Not found"), (503, "Not known")):
        html = render("missing", page="chains", depth=1, text="<b>", status=status)
        assert f"<h1>{heading}</h1>" in html
        assert "&lt;b&gt;" in html


def test_the_page_says_what_the_counts_of_the_causes_cover() -> None:
    document, options = every_page("2026-11-27T01:02:03.4+00:00")["letters"]
    assert isinstance(document, LettersDocument)
    shown = replace(document, total=20_000, counted=200)
    html = render("letters", shown=shown, **options)
    assert "Of the newest 200 letters, set aside since 2026-11-27 01:02:03 UTC" in html
    html = render("letters", shown=replace(document, total=200, counted=200), **options)
    assert "Of all 200 letters." in html


def test_the_content_of_a_letter_may_be_hidden() -> None:
    document, options = every_page("x")["letter"]
    assert isinstance(document, LetterDetailDocument)
    hidden = render("letter", shown=replace(document, payload=None), **options)
    assert "BUTLER_WRITER_WEB_PAYLOADS is false" in hidden
    assert "<pre" not in hidden


def test_the_page_of_what_waits_is_there_for_a_downstream_repository_only() -> None:
    html = render("overview", shown=overview(), page="", is_downstream=True)
    assert 'href="./waiting">Waiting</a>' in html
    assert "A message of the product log" in html
    html = render("overview", shown=overview(waiting=None), page="")
    assert "waiting" not in html


def test_the_page_says_since_when_what_waits_is_overdue() -> None:
    document, options = every_page("x")["waiting"]
    assert isinstance(document, WaitingDocument)
    assert "Next due within" in render("waiting", shown=document, **options)
    html = render("waiting", shown=replace(document, next_due=NOW - 600), **options)
    assert "<strong>10 min</strong>" in html
    empty = replace(document, next_due=None, hours=[], held={}, without_rule={}, releases=[])
    assert "Nothing waits." in render("waiting", shown=empty, **options)


def test_each_step_of_a_flush_has_a_colour_in_both_themes() -> None:
    """The chart of the windows takes the colour of a step by its number."""
    style = (STATIC / "pages.css").read_text()
    assert {style.count(f"--step-{number}:") for number in range(1, len(Step) + 1)} == {2}


@pytest.mark.parametrize("template", PAGES)
def test_the_title_says_which_page_of_which_group_and_worker_it_is(template: str) -> None:
    document, options = every_page("x")[template]
    html = render(template, shown=document, where="group · worker", **options)
    title = html.partition("<title>")[2].partition("</title>")[0]
    assert title.endswith(" · group · worker")
    assert 'data-where="group · worker"' in html


def test_no_two_pages_have_the_same_title() -> None:
    pages = [
        render(template, shown=shown, **more) for template, (shown, more) in every_page("x").items()
    ]
    assert len({html.partition("<title>")[2].partition("</title>")[0] for html in pages}) == len(
        PAGES
    )


def test_a_step_that_the_workers_do_not_have_is_not_shown() -> None:
    for template in ("windows", "window", "overview", "workers"):
        document, options = every_page("x")[template]
        html = render(template, shown=document, logs_products=False, **options)
        for shown in ("keep_", "log_", "keep_waiting", "log_products"):
            assert shown not in html
        html = render(template, shown=document, is_downstream=True, **options)
        assert "keep_waiting" in html
        assert "log_products" in html


def test_the_latency_of_a_flush_is_shown_or_explained() -> None:
    document, options = every_page("x")["window"]
    assert isinstance(document, WindowDocument)
    finished = replace(document, flush=replace(document.flush, max_latency=1.5))
    html = render("window", shown=finished, **options)
    assert "<strong>1.50 s</strong><span>at most, from the send" in html
    html = render("window", shown=document, **options)
    assert "its events are not finished: they are delivered again" in html


def test_a_page_does_not_grow_with_the_depth_of_its_address() -> None:
    html = render("missing", page="", depth=8000, text="", status=404)
    assert len(html) < 20_000


def test_links_to_what_a_worker_does_not_have_are_not_shown() -> None:
    document, options = every_page("x")["about"]
    assert "api/v1/waiting" not in render("about", shown=document, **options)
    assert "api/v1/waiting" in render("about", shown=document, is_downstream=True, **options)
