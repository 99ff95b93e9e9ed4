"""Files that pods have left behind: staged and never ingested, or in the datastore and unknown.

Nothing is taken for left over that an event may still need: neither one that is to be processed,
nor one that was set aside and may be replayed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from lsst.resources import ResourcePath

from app.butler.files.listing import list_files, list_folders
from app.butler.paths import address, address_in, path_in_datastore
from app.butler.private.datastores import Datastores
from app.butler.repository.recorded import recorded_addresses
from app.errors import OperatorError
from app.kafka.readers import finished_offsets, log_reader, read_until
from app.operations.dead_letters import LostEventError, original, read_letters
from models.errors import InvalidEventError

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from app.application import ButlerWriterApp

__all__ = ["YOUNGEST", "Leftover", "LeftoverError", "Leftovers"]

#: No file that is younger is taken for left over: a pod writes its files before it sends its event,
#: may be slow to send it, and may have another clock than the store.
YOUNGEST = timedelta(hours=1)


class LeftoverError(OperatorError):
    """Leftovers cannot be looked for in that way."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that nothing needs.

    Attributes
    ----------
    kind : `str`
        ``staged`` or ``final``: where it is.
    uri : `lsst.resources.ResourcePath`
        The file.
    size : `int`
        In bytes.
    modified : `datetime.datetime`
        When it was written.
    """

    kind: str
    uri: ResourcePath
    size: int
    modified: datetime


class Leftovers:
    """Looks for what is left over.

    Parameters
    ----------
    service : `ButlerWriterApp`
        Has the settings: those of the workers, or what they need may seem left over.
    butler : `lsst.daf.butler.Butler`
        The repository.
    older_than : `datetime.timedelta`
        Files that are younger are passed over.
    folders : `~collections.abc.Sequence` [`str`]
        Where in the datastores to look for files that they do not know, such as a chain's folder.

    Raises
    ------
    LeftoverError
        If the age is not safe, or a folder is not one of a datastore.
    """

    def __init__(
        self,
        service: ButlerWriterApp,
        butler: Butler,
        older_than: timedelta,
        folders: Sequence[str] = (),
    ) -> None:
        if older_than < YOUNGEST:
            raise LeftoverError(f"files younger than {YOUNGEST} may be those of a pod at work")
        self._service = service
        self._butler = butler
        self._before = datetime.now(UTC) - older_than
        self._stores = Datastores(butler).stores
        self._staging = service.settings.write.policy.staging_roots
        self._folders = [
            (store, _folder(folder, store.root)) for store in self._stores for folder in folders
        ]
        self._old_folders = [
            Path(folder)
            for root in self._staging
            for folder, changed in list_folders(root)
            if changed < self._before
        ]

    async def find(self) -> list[Leftover]:
        """Find them.

        The order makes it safe: a file is listed before it is asked who needs it, and the events
        that are to be processed are read before what became of them is.
        """
        found = self._listed()
        async for value in self._events():
            for place in self._named(value):
                found.pop(place, None)
        for store, folder in self._folders:
            for place in recorded_addresses(self._butler, store, folder):
                found.pop(place, None)
        return sorted(found.values(), key=lambda leftover: (leftover.kind, str(leftover.uri)))

    def remove(self, leftovers: Iterable[Leftover]) -> list[str]:
        """Remove what was found, and the staging's folders that are empty then.

        Returns
        -------
        failed : `list` [`str`]
            What could not be removed, and why.
        """
        done = ResourcePath.mremove([leftover.uri for leftover in leftovers], do_raise=False)
        for folder in self._old_folders:
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone
                continue
        return [f"{uri}: {result.exception}" for uri, result in done.items() if not result.success]

    def _listed(self) -> dict[str, Leftover]:
        """Return the files that are old enough, by their addresses."""
        places = [("staged", root) for root in self._staging]
        places += [("final", store.root.join(folder)) for store, folder in self._folders]
        old: dict[str, Leftover] = {}
        linked: set[str] = set()
        for kind, place in places:
            base = address(place)
            for file in list_files(place):
                if file.target is not None:  # links are left alone, and so is what they lead to
                    linked.add(file.target)
                elif file.modified < self._before:
                    old[base + file.path] = Leftover(kind, file.uri, file.size, file.modified)
        return {place: leftover for place, leftover in old.items() if place not in linked}

    async def _events(self) -> AsyncIterator[bytes | None]:
        """Yield the events that are to be processed, then those that were set aside."""
        topic = self._service.settings.kafka.topic
        finished = await finished_offsets(self._service)
        async with log_reader(self._service, topic) as consumer:
            partitions = consumer.assignment()
            first = await consumer.beginning_offsets(partitions)
            for tp in partitions:
                consumer.seek(tp, max(first[tp], finished.get(tp.partition, 0)))
            async for message in read_until(consumer, await consumer.end_offsets(partitions)):
                yield message.value
        async for stored in read_letters(self._service):
            try:
                yield await original(self._service, stored)
            except LostEventError:
                continue  # it cannot be replayed

    def _named(self, value: bytes | None) -> Iterator[str]:
        """Yield the addresses of the files that an event names, staged and final."""
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            event = orjson.loads(value or b"")
            staging = event.get("staging")
            roots = [address(ResourcePath(staging, forceDirectory=True))] if staging else []
            for dataset, store in product(event["datasets"], self._stores):
                with suppress(InvalidEventError):
                    inside = path_in_datastore(dataset["path"], store.root)
                    for root in (*roots, address(store.root)):
                        yield address_in(root, inside)


def _folder(folder: str, root: ResourcePath) -> str:
    """Return a folder of a datastore as its paths begin."""
    try:
        inside = path_in_datastore(folder.strip("/"), root)
    except InvalidEventError as exc:
        raise LeftoverError(f"not a folder of the datastore: {exc}") from exc
    place = root.join(inside, forceDirectory=True)
    if address(place) != f"{address(root)}{inside}/":
        raise LeftoverError(f"{place} is behind a link; name the folder that it leads to")
    return f"{inside}/"
