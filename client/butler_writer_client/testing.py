"""For a pod's unit tests: the whole write in one process, without Kafka or a database server.

What is sent goes through the service's own code, from the event's bytes to the Butler.  It comes
with the extra ``testing``; nothing of it is imported before it is used.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast
from unittest.mock import patch

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord

from butler_writer_client.kafka import Undelivered
from butler_writer_client.writer import Mode, PromptOutputWriter

if TYPE_CHECKING:
    from app.application import ButlerWriterApp
    from app.kafka.held_events import HeldEvent
    from app.settings import Settings

__all__ = ["EventRefusedError", "InProcessService"]

_TOPIC = "pp-output"

#: Seconds after which a write that the service would try again and again is given up.
_PATIENCE = 60.0

#: Elements of which every observation makes records: these a pod has to bring along.  All others
#: are in the central repository before it begins.
_OBSERVED = frozenset({"day_obs", "exposure", "group", "visit"})


class EventRefusedError(Exception):
    """The service has set an event aside; the text is its reason."""


class InProcessService:
    """The service, from a pod's outputs to the central repository, which is made for it.

    It takes the place of the pod's writer.

    Parameters
    ----------
    folder : `pathlib.Path`
        Where the repository will be (SQLite); a folder of its own.
    mode : `Mode`
        How the pod stores its artifacts.
    chains : `~collections.abc.Iterable` [`str`], optional
        Chains that the pod names.
    """

    def __init__(
        self, folder: Path, *, mode: Mode = Mode.FINAL, chains: Iterable[str] | None = None
    ) -> None:
        self._repository = folder / "repository"
        self._staging = folder / "staging"
        self._lists = folder / "lists"
        self._writer = PromptOutputWriter(
            self,
            str(self._staging if mode is Mode.STAGING else self._repository),
            mode=mode,
            chains=chains,
        )
        self._opened: list[Butler] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        while self._opened:
            self._opened.pop().close()

    @property
    def butler(self) -> Butler:
        """The central repository as it is now; something must have been transferred."""
        self._opened.append(Butler.from_config(str(self._repository)))
        return self._opened[-1]

    def transfer_outputs(
        self,
        local_butler: Butler,
        dimension_records: Mapping[str, Iterable[DimensionRecord]],
        datasets: Sequence[DatasetRef],
    ) -> list[DatasetRef]:
        """Transfer outputs as `PromptOutputWriter` does, and let the service write them.

        The dataset types are registered before, and of the dimension records those that do not
        come from observing, such as the instrument's.

        Raises
        ------
        EventRefusedError
            If the service cannot write them.
        TimeoutError
            If it would still be trying.
        """
        grouped = {element: list(records) for element, records in dimension_records.items()}
        self._prepare(local_butler, grouped, datasets)
        return self._writer.transfer_outputs(local_butler, grouped, datasets)

    def _prepare(
        self,
        local_butler: Butler,
        dimension_records: Mapping[str, Sequence[DimensionRecord]],
        datasets: Sequence[DatasetRef],
    ) -> None:
        if not self._repository.exists():
            universe = local_butler.dimensions
            Butler.makeRepo(str(self._repository), dimensionConfig=universe.dimensionConfig)
        data_ids = {ref.dataId for ref in datasets}
        data_ids |= {record.dataId for group in dimension_records.values() for record in group}
        expanded = [local_butler.registry.expandDataId(data_id) for data_id in data_ids]
        with closing(Butler.from_config(str(self._repository), writeable=True)) as central:
            for dataset_type in {ref.datasetType for ref in datasets}:
                central.registry.registerDatasetType(dataset_type)
            for element in local_butler.dimensions.elements:
                if element.has_own_table and not _OBSERVED & element.dimensions.names:
                    records = {
                        data_id.records[element.name]
                        for data_id in expanded
                        if element.name in data_id.dimensions.elements
                    }
                    central.registry.insertDimensionData(
                        element, *(r for r in records if r), skip_existing=True
                    )

    @property
    def max_event_bytes(self) -> int:
        """Size of the largest event that the service takes."""
        return self._settings.kafka.max_message_bytes

    def send(self, values: Sequence[bytes]) -> list[Undelivered | None]:
        """Let the service write events, in one window.

        Raises
        ------
        EventRefusedError
            If it sets one of them aside.
        TimeoutError
            If it would still be trying.
        """
        with ThreadPoolExecutor(1) as thread:  # a test may have an event loop in its own
            thread.submit(asyncio.run, self._write(values)).result()
        return [None] * len(values)

    async def _write(self, values: Sequence[bytes]) -> None:
        from agents import collect, flush  # noqa: PLC0415 - the pods' environment has none
        from app import topics  # noqa: PLC0415
        from app.announce import sending  # noqa: PLC0415

        async def take(topic: Any, *, value: bytes, headers: Any = None, **_: Any) -> None:
            if topic is topics.dead_letters:
                refused.append(headers["reason"].decode())

        refused: list[str] = []
        with (
            self._serving() as service,
            patch.object(flush, "send", take),
            patch.object(sending, "send", take),
        ):
            windows = [
                window
                for offset, value in enumerate(values)
                for window in collect.receive(_event(offset, value), time.monotonic())
            ]
            for window in windows + service.intake.close():
                one = flush.Flush(window)
                await asyncio.wait_for(one.take_through(one.read, one.run), _PATIENCE)
        if refused:
            raise EventRefusedError("; ".join(refused))

    @contextmanager
    def _serving(self) -> Iterator[ButlerWriterApp]:
        """Give the worker's parts to this repository."""
        from app import app  # noqa: PLC0415
        from app.butler.repository.chains import ChainKeeper  # noqa: PLC0415
        from app.butler.repository.connection import open_butler  # noqa: PLC0415
        from app.butler.writer import ButlerWriter  # noqa: PLC0415
        from app.intake.intake import Intake  # noqa: PLC0415

        windows, policy = self._settings.windows, self._settings.write.policy
        intake: Intake[Any] = Intake(windows.bounds, windows.max_bytes_held)
        intake.place({(_TOPIC, 0): 0})
        with closing(open_butler(str(self._repository), policy)) as butler:
            parts: dict[str, Any] = {
                "settings": self._settings,
                "intake": intake,
                "writer": ButlerWriter(butler, policy),
                "chain_keeper": ChainKeeper(butler),
            }
            with patch.multiple(app, create=True, **parts):
                yield app

    @cached_property
    def _settings(self) -> Settings:
        """The worker's settings, whatever this process has in its environment."""
        from app.settings import load_settings  # noqa: PLC0415

        environment = {
            "OUTPUT_DATASET_LIST_DIRECTORY": str(self._lists),
            "BUTLER_WRITER_STAGING_ROOTS": str(self._staging),
            # What a pod has not stored before it sends will never come.
            "BUTLER_WRITER_MISSING_FILE_TRIES": "1",
        }
        with patch.dict(os.environ, environment, clear=True):
            return load_settings()


def _event(offset: int, value: bytes) -> HeldEvent:
    """Make an event of the input topic, as the agents get it."""
    message = SimpleNamespace(
        topic=_TOPIC, partition=0, offset=offset, key=None, value=value, headers=None
    )
    return cast("HeldEvent", SimpleNamespace(message=message, release=lambda: True))
