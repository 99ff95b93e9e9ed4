"""Pages that are kept open: what the user has done stays, and they say when they are out of date.

The server is one of the test's own, with the templates and files of a worker: what a worker shows,
and when it ends, is for the test to choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from app.operations.pages.chains import ChainsDocument
from app.operations.pages.documents import (
    FlowState,
    WindowsDocument,
    WorkerDocument,
    WorkerFlush,
)
from app.operations.pages.letters.documents import LettersDocument
from app.telemetry.labels import Step
from app.telemetry.recent.activity import INTERVAL
from testbed.browser import Tab, browser, open_tab
from testbed.chromium_program import Chromium
from tests.support.accessibility import check_fits, check_usable
from tests.support.pages_server import PagesServer
from tests.unit.web.documents import NOW, every_page, flush, overview, silent, worker

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def running(chromium: Chromium) -> Iterator[Browser]:
    with browser(chromium) as started:
        yield started


@pytest.fixture
def server() -> Iterator[PagesServer]:
    with PagesServer() as started:
        show_overview(started, FlowState.FLOWING)
        show_flushes(started, 150)
        times = [int(NOW) - INTERVAL * n for n in range(180, 0, -1)]
        started.activity = {
            "interval": INTERVAL,
            "times": times,
            "events_per_second": [float(n % 7) for n in range(180)],
            "longest_latency": [0.5 + n % 3 for n in range(180)],
        }
        yield started


@pytest.fixture
def tab(running: Browser) -> Iterator[Tab]:
    with open_tab(running) as opened:
        yield opened


def ask(page: Page) -> None:
    """Have a page ask its worker now, and not only after two seconds."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def swap(page: Page) -> None:
    """Have a page ask its worker now, and wait until the answer is shown."""
    page.evaluate(
        """() => new Promise((done) => {
            document.body.addEventListener("htmx:afterSettle", done, { once: true });
            document.dispatchEvent(new Event("visibilitychange"));
        })"""
    )


def show_overview(server: PagesServer, state: FlowState, path: str = "/", **fields: Any) -> None:
    given: dict[str, Any] = {"reasons": [], "no_answer": None, "workers": [ready()]}
    shown = overview(state=state, **given | fields)
    server.shown[path] = "overview", {"page": "", "shown": shown, "state": state}


def ready() -> WorkerDocument:
    found = worker("1.0")
    assert found.state is not None
    return replace(found, state=replace(found.state, not_ready=None, last_error=None))


def show_flushes(server: PagesServer, number: int) -> None:
    """Show the newest of so many flushes, one each second."""
    flushes: list[WorkerFlush] = [
        replace(flush("w"), batch_id=f"batch-{n}", started_at=NOW - 1000 + n, events=n % 20)
        for n in range(number, max(0, number - 200), -1)
    ]
    shown = WindowsDocument(at=NOW - 1000 + number, not_answering=[], flushes=flushes)
    server.shown["/windows"] = (
        "windows",
        {
            "page": "windows",
            "shown": shown,
            "state": FlowState.FLOWING,
        },
    )


def top_of_focus(page: Page) -> float:
    return float(page.evaluate("document.activeElement.getBoundingClientRect().top"))


def test_focus_and_scroll_position_stay_while_rows_are_added(
    server: PagesServer, running: Browser
) -> None:
    with open_tab(running, width=360) as tab:
        page = tab.page
        page.goto(f"{server.url}/windows")
        page.locator("#flushes a[href='./windows/batch-100']").focus()
        page.evaluate("document.getElementById('flushes').scrollLeft = 77")
        before = top_of_focus(page)
        assert page.evaluate("window.scrollY") > 0
        for number in (155, 160):
            show_flushes(server, number)
            ask(page)
            expect(page.locator("#flushes tbody a").first).to_have_attribute(
                "href", f"./windows/batch-{number}", timeout=10_000
            )
            focused = page.evaluate("document.activeElement.getAttribute('href')")
            assert focused == "./windows/batch-100"
            assert abs(top_of_focus(page) - before) < 2
            assert page.evaluate("document.getElementById('flushes').scrollLeft") == 77
        assert tab.complaints == []


def test_what_was_opened_stays_open_and_the_title_says_what_happens(
    server: PagesServer, tab: Tab
) -> None:
    page = tab.page
    page.goto(server.url)
    expect(page).to_have_title("\N{CHECK MARK} Events are being written · Butler Writer")
    page.locator("#words summary").click()
    show_overview(server, FlowState.STOPPED)
    ask(page)
    stopped = "\N{MULTIPLICATION X} Events are not being written · Butler Writer"
    expect(page).to_have_title(stopped, timeout=10_000)
    expect(page.locator("h1")).to_have_text("Events are not being written")
    assert page.evaluate("document.getElementById('words').open")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    show_overview(server, FlowState.FLOWING)
    ask(page)
    expect(page.locator("h1")).to_have_text("Events are being written", timeout=10_000)
    assert not page.evaluate("document.getElementById('words').open")
    assert tab.complaints == []


def test_selected_text_stays_selected_and_the_title_is_still_true(
    server: PagesServer, tab: Tab
) -> None:
    page = tab.page
    page.goto(server.url)
    page.evaluate("window.getSelection().selectAllChildren(document.querySelector('h1'))")
    show_overview(server, FlowState.STOPPED)
    ask(page)
    expect(page.locator("#paused")).to_be_visible(timeout=10_000)
    expect(page).to_have_title("\N{MULTIPLICATION X} Events are not being written · Butler Writer")
    assert page.evaluate("String(window.getSelection())") == "Events are being written"
    page.evaluate("window.getSelection().removeAllRanges()")
    ask(page)
    expect(page.locator("h1")).to_have_text("Events are not being written", timeout=10_000)
    expect(page.locator("#paused")).to_be_hidden()


def test_a_page_says_that_its_worker_is_gone_until_it_is_back(
    server: PagesServer, tab: Tab
) -> None:
    page = tab.page
    page.goto(server.url)
    server.stop()
    ask(page)
    expect(page.locator("#silent")).to_be_visible(timeout=10_000)
    expect(page).to_have_title("\N{MULTIPLICATION X} No answer · Butler Writer")
    expect(page.locator("h1")).to_have_text("Events are being written")  # as of then
    expect(page.locator("#age")).to_contain_text("s ago", timeout=15_000)
    server.start()
    expect(page.locator("#silent")).to_be_hidden(timeout=10_000)
    expect(page).to_have_title("\N{CHECK MARK} Events are being written · Butler Writer")
    expect(page.locator("#age")).to_be_empty()


def test_a_page_says_that_what_it_shows_is_not_known_until_it_is(
    server: PagesServer, tab: Tab
) -> None:
    chain, options = every_page("a")["chain"]
    options |= {"shown": chain, "state": FlowState.IDLE}
    server.shown["/chains/a"] = "chain", options
    page = tab.page
    page.goto(f"{server.url}/chains/a")
    missing = {"page": "chains", "depth": 1, "text": "Who keeps it does not answer."}
    server.shown["/chains/a"] = (
        "missing",
        missing | {"status": 503, "state": FlowState.IMPAIRED},
    )
    ask(page)
    expect(page.locator("h1")).to_have_text("Not known")
    expect(page.locator("#live")).to_contain_text("Who keeps it does not answer.")
    expect(page.locator("#state")).to_contain_text("Something needs attention")
    expect(page.locator("#silent")).to_be_hidden()
    server.shown["/chains/a"] = "chain", options
    ask(page)
    expect(page.locator("h1")).to_have_text("a")
    server.shown["/chains/a"] = "missing", missing | {"status": 404}
    ask(page)
    expect(page.locator("h1")).to_have_text("Not found")
    assert not page.evaluate("document.getElementById('live').hasAttribute('hx-get')")


@pytest.mark.parametrize(
    "answer",
    [(401, "who are you"), (403, "no"), (200, "<html><body><form>Log in</form></body></html>")],
    ids=["401", "403", "page"],
)
def test_a_page_says_that_the_login_has_ended_and_keeps_what_it_shows(
    server: PagesServer, tab: Tab, answer: tuple[int, str]
) -> None:
    page = tab.page
    page.goto(server.url)
    server.answer = answer
    ask(page)
    expect(page.locator("#login")).to_be_visible(timeout=10_000)
    expect(page.locator("h1")).to_have_text("Events are being written")
    # Gafaelfawr answers such a request with 403, and others with a redirection to another host.
    assert server.headers["X-Requested-With"] == "XMLHttpRequest"
    server.answer = None
    page.get_by_text("Reload the page").click()
    expect(page.locator("#login")).to_be_hidden()
    expect(page.locator("h1")).to_have_text("Events are being written")


def test_a_page_loads_itself_again_after_an_upgrade(
    server: PagesServer, tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tab.page
    page.goto(server.url)
    page.evaluate("window.isOld = true")
    monkeypatch.setattr("app.web.rendering._version", lambda: "2.0")
    ask(page)
    page.wait_for_function("!window.isOld", timeout=10_000)
    expect(page.locator("#live")).to_have_attribute("data-version", "2.0")


def test_a_page_in_the_background_asks_every_half_minute_and_at_once_when_it_is_shown(
    server: PagesServer, tab: Tab
) -> None:
    page = tab.page
    page.add_init_script(
        """
        const now = Date.now;
        window.isHidden = true;
        window.passed = 0;
        Date.now = () => now() + window.passed;
        Object.defineProperty(document, "hidden", { get: () => window.isHidden });
        """
    )
    page.goto(server.url)
    ask(page)
    page.evaluate("window.passed = 29_000 - performance.now()")
    ask(page)
    page.evaluate("window.passed = 31_000")
    with page.expect_response(f"{server.url}/"):
        ask(page)
    ask(page)
    assert server.asked == ["/"] * 2
    page.evaluate("window.isHidden = false")
    with page.expect_response(f"{server.url}/"):
        ask(page)


def test_a_page_that_is_kept_open_does_not_grow(server: PagesServer, tab: Tab) -> None:
    page = tab.page
    page.goto(f"{server.url}/windows")
    expect(page.locator("#chart canvas")).to_be_visible()
    session = page.context.new_cdp_session(page)

    def swapped(times: int) -> dict[str, int]:
        for _ in range(times):
            swap(page)
        session.send("HeapProfiler.collectGarbage")
        counters = session.send("Memory.getDOMCounters")
        return {**counters, "heap": session.send("Runtime.getHeapUsage")["usedSize"]}

    first, last = swapped(5), swapped(15)
    assert last["nodes"] <= first["nodes"] * 1.05
    assert last["jsEventListeners"] <= first["jsEventListeners"] + 5
    assert last["heap"] <= first["heap"] + 2**20


@pytest.mark.parametrize(("template", "path"), [("overview", "/"), ("workers", "/workers")])
def test_a_worker_of_many_partitions_does_not_hide_what_is_said_of_it(
    server: PagesServer, tab: Tab, template: str, path: str
) -> None:
    many = [replace(ready(), partitions=list(range(100)))]
    shown = {name: document for name, (document, _) in every_page("x").items()}
    document = replace(shown[template], workers=many)  # type: ignore[type-var]
    server.shown[path] = template, {"page": "", "shown": document, "state": None}
    tab.page.goto(server.url + path)
    table = tab.page.locator("#workers")
    assert table.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_the_chart_of_the_flushes_shows_them_and_leads_to_each(
    server: PagesServer, tab: Tab
) -> None:
    page = tab.page
    page.goto(f"{server.url}/windows")
    chart = page.locator("#chart")
    expect(chart).to_have_attribute("aria-label", re.compile("of the last 100 flushes; the table"))
    over = page.locator("#chart .u-over")
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": box["width"] - 2, "y": 10})
    shown = page.locator("#chart .u-legend").inner_text()
    assert "write" in shown
    assert "400 ms" in shown
    over.click(position={"x": box["width"] - 2, "y": 10})
    page.wait_for_url("**/windows/batch-150")


def test_a_window_of_1280_pixels_has_room_for_all_columns_of_the_flushes(
    server: PagesServer, tab: Tab
) -> None:
    many = replace(
        flush("http://10.106.23.141:6066"),
        events=189,
        datasets=8316,
        bytes=4_300_000,
        seconds=1.11,
        max_latency=2.67,
        postponed=0,
        step_seconds=dict.fromkeys(Step, 0.596),
    )
    shown = WindowsDocument(at=NOW + 20, not_answering=[], flushes=[many])
    server.shown["/windows"] = "windows", {"page": "windows", "shown": shown, "state": None}
    tab.page.goto(f"{server.url}/windows")
    table = tab.page.locator("#flushes")
    assert table.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_the_chart_follows_colours_and_width_and_without_scripts_there_is_the_table(
    server: PagesServer, running: Browser, tab: Tab
) -> None:
    page = tab.page
    page.goto(f"{server.url}/windows")
    canvas = page.locator("#chart canvas")
    expect(canvas).to_be_visible()
    drawn = "document.querySelector('#chart canvas').toDataURL()"
    light = page.evaluate(drawn)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => {drawn} !== before", arg=light)
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function("document.querySelector('#chart canvas').width < 360")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    with open_tab(running, scripts=False) as other:
        other.page.goto(f"{server.url}/windows")
        expect(other.page.locator("#chart")).to_be_hidden()
        assert other.page.locator("#flushes tbody tr").count() == 100


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_each_state_and_each_empty_page_can_be_used_by_everybody(
    server: PagesServer, running: Browser, colours: Literal["light", "dark"]
) -> None:
    """A test of all pages with all content is that of the workers' pages."""
    partition = overview("x").partitions[0]
    unread = [replace(partition, owner=None, oldest_pending=NOW - 100)]
    wrong = {
        "workers": [worker("x"), silent("x"), replace(ready(), partitions=[]), ready()],
        "reasons": ["One sentence.", "And another " * 50],
        "partitions": unread,
    }
    for state in FlowState:
        show_overview(server, state, **wrong, path=f"/{state}")
    for template, empty in empty_pages().items():
        server.shown[f"/{template}"] = template, {"page": "", "state": None, "shown": empty}
    with open_tab(running, colours=colours) as tab:
        for path in server.shown:
            tab.page.goto(server.url + path)
            expect(tab.page.locator("h1")).to_be_visible()
            check_usable(tab.page)
            check_fits(tab.page, 360)
        assert tab.complaints == []


def empty_pages() -> dict[str, object]:
    """Return pages that have nothing to show."""
    shown = {name: document for name, (document, _) in every_page("x").items()}
    windows, chains, letters = (shown[each] for each in ("windows", "chains", "letters"))
    assert isinstance(windows, WindowsDocument)
    assert isinstance(chains, ChainsDocument)
    assert isinstance(letters, LettersDocument)
    return {
        "windows": replace(windows, not_answering=[], flushes=[]),
        "chains": replace(chains, not_answering=[], is_known=True, chains=[]),
        "letters": replace(letters, no_answer=None, total=0, letters=[], causes={}),
    }
