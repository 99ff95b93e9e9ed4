"""The pages in a real browser: live, quiet, usable by everybody, and the same from each worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from testbed.browser import browser, open_tab
from testbed.chromium_program import Chromium
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.accessibility import check_fits, check_usable
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import streaming

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PAGES = ("/", "/windows", "/chains", "/dead-letters", "/workers", "/settings", "/about")

SETTINGS = {
    "BUTLER_WRITER_WEB_HOST": "127.0.0.1",
    "BUTLER_WRITER_WINDOW_SECONDS": "0.5",
    "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "20",
}


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path, partitions=2, settings=SETTINGS)


@pytest.fixture
def workers(deployment: Deployment) -> Iterator[list[Worker]]:
    """Three workers for two partitions, so one is a spare worker."""
    with ExitStack() as stack:
        started = [stack.enter_context(deployment.worker()) for _ in range(3)]
        for worker in started:
            worker.wait_ready()
        wait_until(
            lambda: sorted(len(each.partitions()) for each in started) == [0, 1, 1],
            120,
            "each partition is read",
        )
        yield started


@pytest.fixture
def running(chromium: Chromium) -> Iterator[Browser]:
    with browser(chromium) as started:
        yield started


def shown_datasets(page: Page) -> int:
    """Return how many datasets the overview shows."""
    card = page.locator(".card", has_text="Datasets a second").locator("span")
    return int(card.inner_text().split()[0].replace(",", ""))


def datasets(worker: Worker) -> int:
    """Return how many datasets the JSON has."""
    found: dict[str, Any] = json.loads(worker.page("/api/v1/overview"))
    return int(found["totals"]["datasets"])


def test_a_page_that_is_kept_open_shows_what_happens_now(
    deployment: Deployment, workers: list[Worker], running: Browser
) -> None:
    with open_tab(running) as tab, streaming(deployment) as events:
        page = tab.page
        page.goto(workers[0].url)
        page.evaluate("window.isTheSamePage = true")
        for _ in range(2):
            before = shown_datasets(page)
            wait_until(lambda n=before: shown_datasets(page) > n, 30, "the number moves")  # type: ignore[misc]
        expect(page.locator("h1")).to_have_text("Events are being written")
        assert page.evaluate("window.isTheSamePage")
        spare = page.locator("#workers tbody tr", has_text="spare")
        assert spare.count() == 1
    deployment.wait_done()
    expected = 10 * len(events)
    with ExitStack() as stack:
        for worker in workers:
            page = stack.enter_context(open_tab(running)).page
            page.goto(worker.url)
            wait_until(lambda p=page: shown_datasets(p) == expected, 30, "all datasets")  # type: ignore[misc]
            assert datasets(worker) == expected
            expect(page.locator("h1")).to_have_text("No event is pending", timeout=90_000)

        killed, left = workers[2], page
        left.goto(workers[0].url)
        row = left.locator("#workers tbody tr", has_text=urlsplit(killed.url).netloc)
        expect(row).to_contain_text("ready" if killed.partitions() else "spare")
        killed.kill()
        since = time.monotonic()
        expect(row).to_contain_text("does not answer", timeout=30_000)
        assert time.monotonic() - since < 5.5
        expect(row).to_have_count(0, timeout=90_000)

        left.goto(f"{workers[1].url}/windows")
        workers[1].kill()
        expect(left.locator("#silent")).to_be_visible(timeout=30_000)


def test_each_page_is_quiet_and_everybody_can_use_it(
    deployment: Deployment, workers: list[Worker], running: Browser
) -> None:
    deployment.send(*(Night(deployment.root).event(1, n) for n in range(4)))
    deployment.cluster.produce(deployment.topic, b'{"type": "<b onclick=x>"}', partition=0)
    deployment.wait_done()
    worker = workers[0]
    flushes = json.loads(worker.page("/api/v1/windows"))["flushes"]
    bad = next(each for each in flushes if each["dead_letters"])
    paths = [*PAGES, f"/windows/{bad['batch_id']}", "/dead-letters/0-0", "/windows/none"]
    sizes: list[tuple[Literal["dark", "light"], int]] = [("light", 1280), ("dark", 360)]
    for colours, width in sizes:
        with open_tab(running, colours=colours, width=width) as tab:
            for path in paths:
                tab.page.goto(worker.url + path)
                for summary in tab.page.locator("summary").all():
                    summary.click()
                check_usable(tab.page)
                for each in (1280, 360):
                    check_fits(tab.page, each)
            expected = [
                "Failed to load resource: the server responded with a status of 404 (Not Found)"
            ]
            assert tab.complaints == expected  # of the page that is not there
            assert tab.hosts == {urlsplit(worker.url).netloc}
    with open_tab(running, scripts=False) as tab:
        for path in paths:
            tab.page.goto(worker.url + path)
            assert tab.page.locator("h1").inner_text()
