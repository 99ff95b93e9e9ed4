"""The site shows a document as GitHub does: two kinds of Markdown, one structure."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from markdown import Markdown
from markdown_it import MarkdownIt
from mkdocs.config import load_config

from testbed.worker import CHECKOUT

DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")])

#: What a reader would miss: items, rows, blocks of code, headings, links, pictures.
ELEMENTS = re.compile(r"<(li|ol|ul|tr|table|pre|h[1-6]|blockquote|a|img|strong)\b")


@pytest.fixture(scope="module")
def site() -> Markdown:
    """What makes HTML for the site, without the links beside headings."""
    config = load_config(str(CHECKOUT / "mkdocs.yml"))
    options = {**config.mdx_configs, "pymdownx.highlight": {"use_pygments": False}}
    options["toc"] = {**options["toc"], "permalink": False}
    return Markdown(extensions=config.markdown_extensions, extension_configs=options)


def elements(html: str) -> Counter[str]:
    return Counter(ELEMENTS.findall(html))


def github(text: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_has_the_same_parts_on_the_site_and_on_github(
    document: Path, site: Markdown
) -> None:
    text = document.read_text()
    assert elements(site.reset().convert(text)) == elements(github(text))


def test_a_list_that_only_github_shows_is_noticed(site: Markdown) -> None:
    text = "What there is:\n- one\n- two\n"
    assert elements(site.reset().convert(text)) != elements(github(text))
