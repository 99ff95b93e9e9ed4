"""The site of the documents: its links are checked, and it loads nothing from other hosts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from testbed.worker import CHECKOUT
from tests.support.command_blocks import command_blocks

#: What a browser loads by itself.
LOADED = re.compile(
    r"<(?:script|img|iframe|link rel=\"(?:stylesheet|icon|preload)\")[^>]*?"
    r"(?:src|href)=\"([^\"]+)\""
)


class Site:
    """A site of two documents, with the configuration and the hook of the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        configuration, _, _ = (CHECKOUT / "mkdocs.yml").read_text().partition("\nnav:\n")
        nav = "\nnav: [index.md, changelog.md, contributing.md, security.md, one.md]\n"
        self.write("mkdocs.yml", configuration + nav)
        for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY"):
            self.write(f"{name}.md", f"# {name}\n\n## Run it\n")
        self.write("deploy/rules.yaml", "answer: 42\n")
        self.write("deploy/site/reference.py", "print('{}')\n")
        shutil.copy(CHECKOUT / "deploy/site/pages.py", folder / "deploy/site")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def build(self, document: str) -> None:
        """Build the site strictly, with this text in a document."""
        self.write("docs/one.md", f"# One\n\n{document}\n")
        build(load_config(str(self.folder / "mkdocs.yml"), strict=True))

    def page(self, name: str) -> str:
        return (self.folder / "build/site" / name).read_text()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_links_lead_to_files_of_the_repository_and_nothing_comes_from_another_host(
    site: Site,
) -> None:
    site.build("[a](../README.md#run-it) [b](../deploy/rules.yaml) [c](../deploy) [d](#one)")
    page = site.page("one.html")
    assert 'href="index.html#run-it"' in page
    assert 'href="source/deploy/rules.yaml.html"' in page
    assert "42" in site.page("source/deploy/rules.yaml.html")
    assert 'href="source/deploy.html"' in page
    assert 'href="deploy/rules.yaml.html"' in site.page("source/deploy.html")

    loaded = LOADED.findall(page)
    assert any(each.endswith(".js") for each in loaded)
    assert any(each.endswith(".css") for each in loaded)
    styles = "".join(file.read_text() for file in (site.folder / "build/site").rglob("*.css"))
    loaded += re.findall(r"(?:@import\s*|url\()[\"']?(?!data:)([^)\"';]+)", styles)
    assert [each for each in loaded if "//" in each] == []


def test_a_link_that_leads_nowhere_is_an_error_and_a_document_without_navigation(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    links = ["none.md", "#two", "../README.md#two", "../deploy/none.yaml", "../deploy#two"]
    site.write("docs/unlisted.md", "# Unlisted\n")
    with pytest.raises(Abort):
        site.build(" ".join(f"[a]({link})" for link in links))
    problems = "\n".join(record.getMessage() for record in caplog.records)
    shown = ["none.md", "#two", "index.md#two", "../deploy/none.yaml", "source/deploy.md#two"]
    assert [link for link in shown if f"'{link}'" not in problems] == []
    assert "unlisted.md" in problems


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The pages that are generated from the code."""
    done = subprocess.run(
        [sys.executable, CHECKOUT / "deploy/site/reference.py"],
        cwd=CHECKOUT,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    pages: dict[str, str] = json.loads(done.stdout)
    return pages


def test_the_settings_are_all_there_with_their_defaults(reference: dict[str, str]) -> None:
    text, _, example = reference["settings.md"].partition("## A file to copy")
    variables = set(re.findall(r"^#?(BUTLER_WRITER_\w+)=", example, re.MULTILINE))
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.+) \|$", text, re.MULTILINE)
    assert variables <= {name for name, _, _ in rows}
    assert ("BUTLER_WRITER_LANES", "`2`") in {(name, default) for name, default, _ in rows}


def test_every_command_has_its_options(reference: dict[str, str]) -> None:
    options = reference["command-options.md"]
    documented = {
        line.split("faust -A app ")[1].split()[0]
        for block in command_blocks().values()
        for line in block.text.splitlines()
        if line.startswith("faust -A app ")
    }
    assert len(documented) >= 8
    assert documented <= set(re.findall(r"^## ([\w-]+)$", options, re.MULTILINE))
    assert "--published-after" in options


def test_every_field_of_an_event_has_its_meaning(reference: dict[str, str]) -> None:
    event, _, _ = reference["events.md"].partition("### ")
    rows = re.findall(r"^\| `(\w+)` \| `(.+)` \| (yes|no) \| (.*) \|$", event, re.MULTILINE)
    schema = json.loads((CHECKOUT / "docs/pp-output.schema.json").read_text())
    assert [name for name, *_ in rows] == [*schema["properties"]]
    assert all(meaning for *_, meaning in rows)
    assert {name for name, _, needed, _ in rows if needed == "yes"} == set(schema["required"])
