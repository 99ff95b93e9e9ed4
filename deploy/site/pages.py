"""The pages of the site that are no files of ``docs/``: a hook of MkDocs.

Documents link to files of the repository by relative paths, so that the links work on GitHub and in
a checkout.  On the site, the linked files are pages too: a document as a page of its own, another
file as a block of code, a folder as a list of its files.  So the site needs no other host, and
MkDocs checks these links as it checks the others.
"""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

__all__ = ["on_files"]

CHECKOUT = Path(__file__).resolve().parents[2]

#: The pages of documents that are not in ``docs/``.
DOCUMENTS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}

#: The file that lists the variables, as the page that is generated from the settings.
SETTINGS = {".env.example": "settings.md"}

#: Target and anchor of a link to a file of the repository.
LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")

#: Where the pages of other files are.
SOURCE = "source"

#: A page of source that the search passes over.
SOURCE_PAGE = """\
---
title: {path}
search: {{exclude: true}}
---
# `{path}`

{text}
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and lead links to them."""
    documents = {f"docs/{file.src_uri}": file.src_uri for file in files.documentation_pages()}
    linked: set[str] = set()
    for path, uri in (documents | DOCUMENTS).items():
        _put(files, config, uri, _with_links(path, uri, linked))
    for uri, text in _reference().items():
        _put(files, config, uri, text)
    for path in sorted({each for one in linked for each in _with_content(one)}):
        _put(files, config, f"{SOURCE}/{path}.md", _source(path), InclusionLevel.NOT_IN_NAV)
    return files


def _put(
    files: Files,
    config: MkDocsConfig,
    uri: str,
    text: str,
    inclusion: InclusionLevel = InclusionLevel.UNDEFINED,
) -> None:
    """Add a page; it takes the place of one with the same name."""
    if (before := files.get_file_from_path(uri)) is not None:
        files.remove(before)
    files.append(File.generated(config, uri, content=text, inclusion=inclusion))


def _with_links(path: str, uri: str, linked: set[str]) -> str:
    """Return a document with links as they are on the site.

    Parameters
    ----------
    path, uri : `str`
        The document, and its page.
    linked : `set` [`str`]
        Gets the linked files and folders that are no documents.
    """

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link["target"]))
        if (page := (DOCUMENTS | SETTINGS).get(target)) is None:
            if target.startswith("docs/"):
                page = target.removeprefix("docs/")
            elif (CHECKOUT / target).exists():
                linked.add(target)
                page = f"{SOURCE}/{target}.md"
            else:
                return link[0]  # MkDocs reports it
        return posixpath.relpath(page, posixpath.dirname(uri) or ".") + (link["anchor"] or "")

    return LINK.sub(on_site, (CHECKOUT / path).read_text())


def _with_content(path: str) -> list[str]:
    """Return a file; or a folder and all that is in it."""
    found = [each for each in (CHECKOUT / path).rglob("*") if "__pycache__" not in each.parts]
    return [path, *(str(each.relative_to(CHECKOUT)) for each in found)]


def _source(path: str) -> str:
    """Return the page of a file or a folder."""
    file = CHECKOUT / path
    if file.is_dir():
        names = (each.name for each in sorted(file.iterdir()) if each.name != "__pycache__")
        text = "\n".join(f"- [{name}]({file.name}/{name}.md)" for name in names)
    else:
        language = {".env": "sh"}.get(file.suffix, file.suffix.removeprefix("."))
        text = f"``````{language}\n{file.read_text()}\n``````"
    return SOURCE_PAGE.format(path=path, text=text)


def _reference() -> dict[str, str]:
    """Return the pages that are generated from the code.

    Another process makes them, with an empty environment: the service's log and settings are not
    those of MkDocs.
    """
    program = Path(__file__).with_name("reference.py")
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, program], cwd=CHECKOUT, env={}, stdout=subprocess.PIPE, check=True
    )
    pages: dict[str, str] = json.loads(done.stdout)
    return pages
