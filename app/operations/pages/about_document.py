"""What runs here, and where it is described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.operations.versions import versions

__all__ = ["AboutDocument", "LinkDocument", "VersionDocument", "about_document"]


@dataclass(frozen=True, slots=True)
class VersionDocument:
    """The version of a package or a program."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class LinkDocument:
    """Where something is described."""

    title: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutDocument:
    """What runs here.

    Attributes
    ----------
    worker : `str`
        The address of this worker's pages.
    documents : `~collections.abc.Sequence` [`str`]
        The documents that come with the source.
    """

    worker: str
    version: str
    versions: Sequence[VersionDocument]
    documents: Sequence[LinkDocument]
    links: Sequence[LinkDocument]


def about_document(worker: str) -> AboutDocument:
    """Return what runs here.

    Parameters
    ----------
    worker : `str`
        The address of this worker's pages.
    """
    return AboutDocument(
        worker=worker,
        version=versions()["butler-writer"],
        versions=[VersionDocument(name, version) for name, version in versions().items()],
        documents=[
            LinkDocument("What to do about an alert", "docs/runbook.md"),
            LinkDocument("Commands", "docs/commands.md"),
            LinkDocument("Dead letters", "docs/dead-letters.md"),
            LinkDocument("The words that are used", "docs/glossary.md"),
            LinkDocument("Rules that keep events from being lost", "docs/durability.md"),
        ],
        links=[
            LinkDocument("DMTN-310, why there is this service", "https://dmtn-310.lsst.io/"),
            LinkDocument(
                "The Data Butler", "https://pipelines.lsst.io/modules/lsst.daf.butler/index.html"
            ),
            LinkDocument("Faust", "https://faust-streaming.github.io/faust/"),
        ],
    )
