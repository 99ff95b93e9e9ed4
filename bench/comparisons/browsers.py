"""Browsers that look at the pages: what they cost a worker that writes a steady load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from threading import Thread

import aiohttp
import orjson

from bench.comparisons.end_to_end import Load, start
from bench.measuring import alternate, median_ratio, spread
from bench.repositories import FEWER_DATASETS, Repositories
from bench.result import Result, Table
from testbed.kafka import ApacheKafka
from testbed.worker import Worker

__all__ = ["run"]

_BROWSERS = 50
_PAGES = ("/", "/windows", "/workers", "/chains", "/dead-letters")

#: Seconds between two requests of a browser, as the pages ask for.
_INTERVAL = 2.0

#: The load between two looks at the flushes: events/s, and its duration in seconds.
_RATE = 20.0
_SECONDS = 20.0
_ROUNDS = 6


def run(*, quick: bool) -> Result:
    """Compare the flushes of a worker with and without browsers."""
    del quick  # there is but one
    result = Result("browsers")
    with Repositories() as repositories, ApacheKafka() as kafka, ExitStack() as stack:
        load = start(stack, repositories, kafka, FEWER_DATASETS)
        flushes: dict[str, list[float]] = {"no browser": [], f"{_BROWSERS} browsers": []}
        answers: list[float] = []

        def alone() -> float:
            return _flushes(load, flushes["no browser"])

        def watched() -> float:
            with _browsers(load.service.workers[0], answers):
                return _flushes(load, flushes[f"{_BROWSERS} browsers"])

        alone()
        flushes["no browser"].clear()
        medians = alternate(dict(zip(flushes, (alone, watched), strict=True)), _ROUNDS)
        load.verify(repositories, quick=False)
    table = Table(["pages", "seconds of a flush", "flushes"])
    for name, seconds in flushes.items():
        table.add(name, spread(medians[name]), len(seconds))
    pages = Table(["answer to a browser", "milliseconds"])
    pages.add(f"median of {len(answers)}", f"{1000 * median(answers):.1f}")
    result.tables += [table, pages]
    result.raw |= {"flushes": flushes, "answers": answers}
    result.figures["flush_with_50_browsers"] = median_ratio(*reversed(list(flushes.values())))
    return result


def _flushes(load: Load, found: list[float]) -> float:
    """Send a steady load; add the seconds of its flushes, and return their median."""
    (worker,) = load.service.workers
    before = {flush["batch_id"] for flush in orjson.loads(worker.page("/state/windows"))}
    pods = load.workload.pods(load.visit, int(_RATE * _SECONDS))
    load.visit = pods[-1].visit.number + 1
    load.send([(number / _RATE, pod) for number, pod in enumerate(pods)])
    flushes = orjson.loads(worker.page("/state/windows"))
    seconds = [flush["seconds"] for flush in flushes if flush["batch_id"] not in before]
    found += seconds
    return float(median(seconds))


@contextmanager
def _browsers(worker: Worker, answers: list[float]) -> Iterator[None]:
    """Let browsers ask for pages until the block ends, each at times of its own."""
    loop = asyncio.new_event_loop()

    async def browse() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(
                *(_browse(session, worker.url, n, answers) for n in range(_BROWSERS))
            )

    async def until_cancelled() -> None:
        try:
            await browse()
        except asyncio.CancelledError:
            return

    task = loop.create_task(until_cancelled())
    thread = Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


async def _browse(
    session: aiohttp.ClientSession, url: str, number: int, answers: list[float]
) -> None:
    """Look at one page again and again, as one browser does."""
    page = url + _PAGES[number % len(_PAGES)]
    loop = asyncio.get_running_loop()
    await asyncio.sleep(number / _BROWSERS * _INTERVAL)
    while True:
        asked = loop.time()
        async with session.get(page) as answer:
            await answer.read()
            answer.raise_for_status()
        answers.append(loop.time() - asked)
        await asyncio.sleep(_INTERVAL)
