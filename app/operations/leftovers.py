"""Finds files that pods left behind: staged and never ingested, or unknown to the datastore.

A file is not a leftover while an event may need it: one that is not processed yet, or was set aside
and may be replayed.  In a downstream repository, it is one if no dataset has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from app.butler.events.limits import EventLimits
from app.butler.files.beneath import LocalFile, UnreadableError, remove_folder
from app.butler.files.listing import ListedFile, list_files, list_folders
from app.butler.files.removal import remove_files
from app.butler.paths import address, address_in, path_in_datastore, staging_root
from app.butler.private.datastores import Datastores
from app.butler.private.removals import Removals
from app.butler.repository.recorded import recorded_addresses
from app.errors import OperatorError
from app.kafka.connection import KafkaConnection
from app.operations.named_files import NamedFiles, files_ending_with, files_of_open_events
from app.settings import KafkaSettings, ReplicaKafkaSettings
from models.errors import InvalidEventError, NotAllowedError

__all__ = ["YOUNGEST", "Leftover", "LeftoverError", "Leftovers"]

#: The minimum age of a leftover: a pod writes its files before it sends its event, may send it
#: late, and its clock may differ from the store's.
YOUNGEST = timedelta(hours=1)


class LeftoverError(OperatorError):
    """A search for leftovers with these options is not safe."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that no event and no datastore needs.

    Attributes
    ----------
    kind : `str`
        ``staged`` (in the staging area) or ``final`` (in the datastore).
    uri : `lsst.resources.ResourcePath`
        The file.
    address : `str`
        The file, as datastore records and events are compared with it.
    size : `int`
        In bytes.
    modified : `datetime.datetime`
        When it was written.
    file : `LocalFile` or `lsst.resources.ResourcePath`
        The file, to be removed as it was when it was listed.
    """

    kind: str
    uri: ResourcePath
    address: str
    size: int
    modified: datetime
    file: LocalFile | ResourcePath


class Leftovers:
    """Finds leftovers and removes them.

    The settings must be those of the workers: with other settings, a file that they need may
    look like a leftover.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to read events from.
    settings : `~app.settings.KafkaSettings`
        Names of the topics, and the largest event.
    staging_roots : `~collections.abc.Iterable` [`lsst.resources.ResourcePath`]
        Where staged artifacts may be.
    butler : `lsst.daf.butler.Butler`
        The repository.
    older_than : `datetime.timedelta`
        Files that are younger are skipped.
    folders : `~collections.abc.Sequence` [`str`]
        Folders of the datastores to search for unknown files, such as a chain's folder.
    limits : `EventLimits`, optional
        How much an event may have to be decoded.  Without it, the defaults apply.

    Raises
    ------
    LeftoverError
        If the age is below `YOUNGEST`, a folder is not one of a datastore, or there is none to
        search.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        settings: KafkaSettings,
        staging_roots: Iterable[ResourcePath],
        butler: Butler,
        *,
        older_than: timedelta,
        folders: Sequence[str] = (),
        limits: EventLimits | None = None,
    ) -> None:
        if older_than < YOUNGEST:
            raise LeftoverError(
                f"files younger than {YOUNGEST} may belong to a running pod; "
                "give --older-than a longer time"
            )
        self._staging = tuple(staging_roots)
        if not self._staging and not folders:
            raise LeftoverError(
                "nothing to search: BUTLER_WRITER_STAGING_ROOTS is empty; set it as for the "
                "workers, or give --folder"
            )
        self._connection = connection
        self._settings = settings
        self._limits = limits or EventLimits()
        self._butler = butler
        self._before = datetime.now(UTC) - older_than
        self._stores = Datastores(butler).stores
        self._folders = [
            (store, _folder(folder, store.root)) for store in self._stores for folder in folders
        ]
        self._old_folders = [
            (root, folder)
            for root in self._staging
            for folder, changed in list_folders(root)
            if changed < self._before
        ]

    async def find(self) -> list[Leftover]:
        """Find the leftovers.

        The order of the steps makes this safe.  Files are listed before the events and datastore
        records that may name them are read.  Events that are not processed yet are read first,
        because they may become dead letters or datastore records in the meantime.

        Raises
        ------
        LeftoverError
            If a folder of the datastore has no file: its name is wrong.
        app.kafka.errors.TopicError
            If the input topic or the dead-letter topic does not exist.
        app.kafka.errors.KafkaError
            If the brokers cannot be reached or refuse the user.
        """
        found = self._old_files()
        staged: dict[str, list[str]] = {file.rpartition("/")[2]: [] for file in found}
        for file, leftover in found.items():
            if leftover.kind == "staged":
                staged[file.rpartition("/")[2]].append(file)
        # No message of a product log keeps a file: who needs it copies it again.
        if not isinstance(self._settings, ReplicaKafkaSettings):
            async for named in files_of_open_events(
                self._connection, self._settings, self._limits, staged
            ):
                for file in self._addresses_of(named, staged):
                    found.pop(file, None)
        return sorted(self._without_recorded(found), key=lambda each: (each.kind, str(each.uri)))

    def _without_recorded(self, found: dict[str, Leftover]) -> list[Leftover]:
        """Return those files, by their addresses, that no datastore record names now."""
        for folder in self._folders:
            for file in recorded_addresses(self._butler, *folder):
                found.pop(file, None)
        return list(found.values())

    def remove(self, leftovers: Iterable[Leftover]) -> list[str]:
        """Remove leftovers, and the old staging folders that are empty afterwards.

        Returns
        -------
        failed : `list` [`str`]
            Each file that could not be removed, and why.
        """
        if not isinstance(self._settings, ReplicaKafkaSettings):
            return self._remove(leftovers)
        with Removals(self._butler).counted():
            # No worker writes now, and then none what it has prepared before.
            found = {each.address: each for each in leftovers}
            left = self._without_recorded(found.copy())
            needed = found.keys() - {each.address for each in left}
            return self._remove(left) + [f"{found[each].uri}: a dataset has it" for each in needed]

    def _remove(self, leftovers: Iterable[Leftover]) -> list[str]:
        failed = remove_files(leftover.file for leftover in leftovers)
        for root, folder in self._old_folders:
            # Not empty, or removed or replaced by somebody else.
            with suppress(OSError, NotAllowedError, UnreadableError):
                remove_folder(root.ospath, folder)
        return failed

    def _old_files(self) -> dict[str, Leftover]:
        """Return the files that are old enough, by their addresses."""
        folders = [("staged", root, "") for root in self._staging]
        folders += [("final", store.root, folder) for store, folder in self._folders]
        old: dict[str, Leftover] = {}
        linked: set[str] = set()
        with_files: set[ResourcePath] = set()
        for kind, root, inside in folders:
            folder = root.join(inside, forceDirectory=True) if inside else root
            base = address(folder)
            for file in list_files(folder):
                with_files.add(folder)
                if file.target is not None:  # neither links nor their targets are leftovers
                    linked.add(file.target)
                elif file.modified < self._before:
                    name = base + file.path
                    old[name] = _leftover(kind, root, inside, file, name)
        names = {folder for _, folder in self._folders}
        found = {name for store, name in self._folders if store.root.join(name) in with_files}
        if empty := sorted(names - found):
            raise LeftoverError(f"the datastore has no file in {', '.join(empty)}; check --folder")
        return {name: leftover for name, leftover in old.items() if name not in linked}

    def _addresses_of(
        self, named: NamedFiles, staged: Mapping[str, Sequence[str]]
    ) -> Iterator[str]:
        """Yield the addresses of the files that an event names, staged and final.

        Parameters
        ----------
        named : `NamedFiles`
            The files.
        staged : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence` [`str`]]
            The addresses of the files in the staging area, by the names of all files.
        """
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            root = self._staging_address(named.staging) if named.staging else None
            may_be_elsewhere = root is None and bool(named.staging or not named.is_known)
            for path in named.paths:
                for store in self._stores:
                    with suppress(InvalidEventError):
                        inside = path_in_datastore(path, store.root)
                        yield address_in(address(store.root), inside)
                        if root is not None:
                            yield root + inside
                        elif may_be_elsewhere:
                            yield from files_ending_with(inside, staged)

    def _staging_address(self, staging: Any) -> str | None:
        """Return the address of a staging root that an event names; `None` if it is not allowed."""
        try:
            inside = staging_root(staging, self._staging)
        except InvalidEventError:
            return None
        if not inside.isLocal:
            return address(inside)
        # Links inside of an allowed root are not followed.
        for root in self._staging:
            if root.isLocal and inside.ospath.startswith(root.ospath):
                return address(root) + inside.ospath[len(root.ospath) :]
        return None


def _leftover(kind: str, root: ResourcePath, inside: str, file: ListedFile, name: str) -> Leftover:
    own = LocalFile(root.ospath, inside + file.path, file.status) if root.isLocal else file.uri
    return Leftover(kind, file.uri, name, file.size, file.modified, own)


def _folder(folder: str, root: ResourcePath) -> str:
    """Return a folder as the prefix of the paths in a datastore."""
    try:
        inside = path_in_datastore(folder.strip("/"), root)
    except InvalidEventError as exc:
        raise LeftoverError(f"not a folder of the datastore: {exc}") from exc
    uri = root.join(inside, forceDirectory=True)
    if address(uri) != f"{address(root)}{inside}/":
        raise LeftoverError(f"{uri} contains a symbolic link; give --folder the target of the link")
    return f"{inside}/"
