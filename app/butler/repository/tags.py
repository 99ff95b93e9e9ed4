"""The tagged collection of a downstream repository."""

from __future__ import annotations

from lsst.daf.butler import Butler, CollectionType

from app.butler.repository.connection import RepositoryError

__all__ = ["register_tag"]


def register_tag(butler: Butler, name: str) -> None:
    """Register a tagged collection, if it does not exist.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    name : `str`
        The collection.

    Raises
    ------
    RepositoryError
        If a collection of another type has that name.
    """
    butler.collections.register(name, CollectionType.TAGGED)
    if (found := butler.collections.get_info(name).type) is not CollectionType.TAGGED:
        raise RepositoryError(
            f"BUTLER_WRITER_TAG='{name}' is a {found.name} collection; name a tagged one, or one "
            "that does not exist"
        )
