"""The pages behind the proxy of docs/web.md, of a worker on the embedded broker."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from testbed.browser import browser, open_tab
from testbed.chromium_program import Chromium
from testbed.embedded import EmbeddedBroker
from testbed.nginx import Nginx
from testbed.ports import free_port
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.web_document import PORT, blocks

LOGIN = ("operator", "a-password")

TITLES = ("Windows", "Chains", "Dead letters", "Workers", "Settings", "About")


@pytest.fixture(scope="module")
def worker(
    embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    deployment = Deployment(embedded_broker, "behind-a-proxy", tmp_path_factory.mktemp("proxy"))
    settings = {
        "BUTLER_WRITER_WEB_HOST": "127.0.0.1",
        # With the embedded broker, the first member of a group waits for half of it.
        "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "8",
    }
    with deployment.worker(**settings) as started:
        started.wait_ready()
        yield started


def status(url: str, login: tuple[str, str] | None = None) -> int:
    request = urllib.request.Request(url)
    if login is not None:
        encoded = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.usefixtures("nginx_program")
def test_the_proxy_asks_for_a_login_and_serves_all_pages_below_its_prefix(
    worker: Worker, tmp_path: Path, chromium: Chromium
) -> None:
    (text,) = blocks("nginx")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"{LOGIN[0]}:{{PLAIN}}{LOGIN[1]}\n")
    port = free_port()
    own = worker.url.removeprefix("http://")
    text = re.sub(rf"server worker-\d:{PORT};", f"server {own};", text)
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    text = text.replace("/etc/nginx/butler-writer.passwords", str(passwords))
    with Nginx(text, port) as proxy, browser(chromium) as running:
        below = f"{proxy.url}/butler-writer"
        for path in ("/", "/windows", "/api/v1/overview", "/state", "/metrics"):
            assert status(below + path) == 401
            assert status(below + path, (LOGIN[0], "wrong")) == 401
            assert status(below + path, LOGIN) == 200
        with open_tab(running, login=LOGIN) as tab:
            tab.page.goto(below)
            assert tab.page.url == f"{below}/"
            expect(tab.page.locator("#chart canvas")).to_be_visible()
            for title in TITLES:
                tab.page.get_by_role("link", name=title, exact=True).click()
                expect(tab.page.locator("h1")).to_have_text(title)
            assert tab.hosts == {proxy.url.removeprefix("http://")}
            assert tab.complaints == []


def test_the_pages_name_the_workers_although_the_embedded_broker_does_not(worker: Worker) -> None:
    shown = json.loads(worker.page("/api/v1/overview"))
    assert (shown["state"], shown["reasons"]) == ("idle", [])
    (found,) = shown["workers"]
    assert (found["pages"], found["is_member"], found["partitions"]) == (worker.url, True, [0])
    assert [each["owner"] for each in shown["partitions"]] == [worker.url]
