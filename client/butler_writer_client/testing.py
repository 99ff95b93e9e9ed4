"""For a pod's unit tests: the whole write in one process, without Kafka or a database server.

The service's own code handles each event, from its bytes to the Butler.  It is installed with the
extra ``testing`` and imported only when it is used.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord
from lsst.resources import ResourcePath

from butler_writer_client.kafka import Undelivered
from butler_writer_client.writer import Mode, PromptOutputWriter

if TYPE_CHECKING:
    from app.kafka.sending import OutputTopic, Sender
    from app.parts import Parts

__all__ = ["EventRefusedError", "InProcessService"]

_PARTITION = ("pp-output", 0)

#: Seconds after which a write that keeps failing is given up.
_PATIENCE = 60.0

#: Every observation adds dimension records of these elements, and the pod has to send them.  The
#: records of all other elements are in the central repository before the pod starts.
_OBSERVED = frozenset({"day_obs", "exposure", "group", "visit"})


class EventRefusedError(Exception):
    """The service has set an event aside; the text is its reason."""


class InProcessService:
    """The service with a central repository of its own, in this process.

    Use it instead of the pod's `PromptOutputWriter`.

    Parameters
    ----------
    folder : `pathlib.Path`
        A folder that only the repository (SQLite) uses.
    mode : `Mode` or `str`
        How the pod stores its artifacts.
    chains : `~collections.abc.Iterable` [`str`], optional
        Chains that the pod names.

    Raises
    ------
    ModuleNotFoundError
        If the service, which comes with the extra ``testing``, is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: Mode | Literal["final", "staging"] = Mode.FINAL,
        chains: Iterable[str] | None = None,
    ) -> None:
        _check_installed()
        self._repository = folder / "repository"
        self._staging = folder / "staging"
        self._lists = folder / "lists"
        self._writer = PromptOutputWriter(
            self,
            str(self._staging if Mode(mode) is Mode.STAGING else self._repository),
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
        """The central repository as it is now; it exists after the first transfer."""
        self._opened.append(Butler.from_config(str(self._repository)))
        return self._opened[-1]

    def transfer_outputs(
        self,
        local_butler: Butler,
        dimension_records: Mapping[str, Iterable[DimensionRecord]],
        datasets: Sequence[DatasetRef],
    ) -> list[DatasetRef]:
        """Transfer outputs as `PromptOutputWriter` does, and let the service write them.

        Before that, the dataset types are registered, and the dimension records that do not come
        from observations, such as the instrument's, are inserted.

        Parameters
        ----------
        local_butler : `lsst.daf.butler.Butler`
            The pod's own Butler.
        dimension_records : `~collections.abc.Mapping` [`str`, `~collections.abc.Iterable`]
            The dimension records that the datasets need, by element.
        datasets : `~collections.abc.Sequence` [`lsst.daf.butler.DatasetRef`]
            The outputs.

        Raises
        ------
        EventRefusedError
            If the service cannot write them.
        TimeoutError
            If the write does not succeed in time.
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
        self._staging.mkdir(parents=True, exist_ok=True)
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
        from app.settings.kafka import LARGEST_EVENT  # noqa: PLC0415

        return LARGEST_EVENT

    def send(self, values: Sequence[bytes]) -> list[Undelivered | None]:
        """Let the service write events, in one window.

        Raises
        ------
        EventRefusedError
            If it sets one of them aside.
        TimeoutError
            If the write does not succeed in time.
        """
        with ThreadPoolExecutor(1) as thread:  # a test may run an event loop in its own thread
            thread.submit(asyncio.run, self._write(values)).result()
        return [None] * len(values)

    async def _write(self, values: Sequence[bytes]) -> None:
        # Imported here, since the environment of a pod does not have them.
        from agents.window_flush import WindowFlush  # noqa: PLC0415
        from app.intake.received import Received  # noqa: PLC0415

        sender = _Refusals()
        with self._open_parts(sender) as parts:
            intake = parts.intake
            intake.start_at({_PARTITION: 0})
            windows = []
            for offset, value in enumerate(values):
                _, entry = intake.receive(
                    _PARTITION,
                    offset,
                    len(value),
                    ack=lambda: None,
                    sent_at=time.time(),
                    now=time.monotonic(),
                )
                if entry is not None:
                    windows += intake.add(entry, Received(None, value), now=0.0)
            for window in windows + intake.close():
                flush = WindowFlush(window, parts, parts.lanes[0])
                await asyncio.wait_for(flush.run(), _PATIENCE)
        if sender.reasons:
            raise EventRefusedError("; ".join(sender.reasons))

    @contextmanager
    def _open_parts(self, sender: Sender) -> Iterator[Parts]:
        """Create the parts of a flush for this repository."""
        from app.announce.product_log import ProductLog  # noqa: PLC0415
        from app.butler.policy import WritePolicy  # noqa: PLC0415
        from app.butler.private.registry import engine_of  # noqa: PLC0415
        from app.butler.repository.chains import ChainKeeper  # noqa: PLC0415
        from app.butler.repository.connection import open_butler  # noqa: PLC0415
        from app.butler.sessions.look import DatabaseLook  # noqa: PLC0415
        from app.butler.writer import ButlerWriter  # noqa: PLC0415
        from app.intake.windows import WindowBounds  # noqa: PLC0415
        from app.parts import Lane, Parts, new_intake  # noqa: PLC0415
        from app.telemetry.flush_reports import FlushReports  # noqa: PLC0415
        from app.telemetry.status import Status  # noqa: PLC0415

        policy = WritePolicy(
            staging_roots=(ResourcePath(str(self._staging), forceDirectory=True),),
            # A file that the pod has not stored before it sends the event will never appear.
            missing_file_tries=1,
        )
        with closing(open_butler(str(self._repository), policy)) as butler:
            lane = Lane(
                writer=ButlerWriter(butler, policy),
                chain_keeper=ChainKeeper(butler),
                reports=FlushReports(Status(), 0),
            )
            parts = Parts(
                intake=new_intake(WindowBounds(1.0, 500, sys.maxsize), sys.maxsize),
                lanes=[lane],
                sender=sender,
                product_log=ProductLog(self.max_event_bytes),
                database_look=DatabaseLook(engine_of(butler)),
                list_directory=str(self._lists),
                max_event_bytes=self.max_event_bytes,
                retry_wait_max=1.0,
            )
            try:
                yield parts
            finally:
                parts.shut_down()


def _check_installed() -> None:
    """Name the extra if the service's packages are missing."""
    try:
        import app.parts  # noqa: F401, PLC0415
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(
            f"the service is not installed (no module {exc.name}): "
            "pip install 'butler-writer-client[testing]'",
            name=exc.name,
        ) from exc


class _Refusals:
    """Replaces Kafka: keeps the reasons of dead letters, and drops all other messages."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def send(
        self,
        topic: OutputTopic,
        *,
        value: bytes,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Keep the reason of a dead letter."""
        from app.kafka.sending import OutputTopic  # noqa: PLC0415

        if topic is OutputTopic.DEAD_LETTERS and headers is not None:
            self.reasons.append(headers["reason"].decode())
