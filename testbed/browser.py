"""Opens pages in a browser without a screen, and notes what they complain about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request, sync_playwright

from .chromium_program import Chromium

__all__ = ["Tab", "browser", "open_tab"]


@dataclass
class Tab:
    """A tab of the browser.

    Attributes
    ----------
    page
        What it shows.
    complaints
        What the console says, and uncaught exceptions.
    hosts
        The hosts, each with its port, that something was asked of.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def _note(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)

    def listen(self) -> None:
        """Note complaints and hosts from now on."""
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)


@contextmanager
def browser(program: Chromium) -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=program.program,
            env=dict(program.environment),
            # Containers have neither what the sandbox needs nor much shared memory.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield running
        running.close()


@contextmanager
def open_tab(
    running: Browser,
    *,
    colours: Literal["dark", "light"] = "light",
    width: int = 1280,
    height: int = 800,
    scripts: bool = True,
    login: tuple[str, str] | None = None,
) -> Iterator[Tab]:
    """Open a tab.

    Parameters
    ----------
    running
        The browser.
    colours
        Which colours the user prefers.
    width, height
        Its size in pixels.
    scripts
        Whether JavaScript is on.
    login
        User and password, if a proxy asks for them.
    """
    context = running.new_context(
        color_scheme=colours,
        viewport={"width": width, "height": height},
        java_script_enabled=scripts,
        http_credentials=login and {"username": login[0], "password": login[1]},
    )
    tab = Tab(context.new_page())
    tab.listen()
    yield tab
    context.close()
