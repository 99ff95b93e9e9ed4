"""What was written to each chain: the message, and the state that the table keeps."""

from __future__ import annotations

from typing import Annotated

import faust
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

__all__ = [
    "ChainState",
    "ChainUpdate",
    "RunState",
    "added",
    "read_chain_state",
    "read_chain_update",
]

_Name = Annotated[str, Field(min_length=1, max_length=4096)]

#: Up to the year 5138: what is later, no calendar shows.
_Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]

#: The largest count; JSON has none that is larger than 64 bits.
_LARGEST = 2**63 - 1

_Number = Annotated[int, Field(ge=0, le=_LARGEST)]


def added(*counts: int) -> int:
    """Return the sum of counts, or the largest count that JSON can have."""
    return min(sum(counts), _LARGEST)


class ChainUpdate(faust.Record, serializer="json", include_metadata=False):
    """What one window added to one run of a chain; sent at least once, keyed by chain.

    Attributes
    ----------
    chain, run : `str`
        The chain, and the run that is among its children.
    datasets, events : `int`
        Datasets of the window in that run, and the events that they came from.
    batch_id : `str`
        UUID of the window's ``batch-ingested`` announcement.
    written_at : `float`
        When the window was written, in seconds since the Unix epoch.
    """

    chain: str
    run: str
    datasets: int
    events: int
    batch_id: str
    written_at: float


class RunState(faust.Record, serializer="json", include_metadata=False):
    """One run of a chain; the counts include redelivered events.

    Attributes
    ----------
    first_write, last_write : `float`
        Seconds since the Unix epoch; 0 if the run has no dataset.
    datasets, events : `int`
        Sums over all updates.
    """

    run: str
    first_write: float
    last_write: float
    datasets: int
    events: int


class ChainState(faust.Record, serializer="json", include_metadata=False):
    """A chain as the table keeps it; its runs are newest first, as in the Butler.

    As a message on the topic of chain updates, it replaces what the table has.
    """

    chain: str
    runs: list[RunState]

    def updated(self, update: ChainUpdate) -> ChainState:
        """Return the state after an update."""
        run = RunState(
            run=str(update.run),
            first_write=float(update.written_at),
            last_write=float(update.written_at),
            datasets=int(update.datasets),
            events=int(update.events),
        )
        return self.merged(ChainState(chain=self.chain, runs=[run]))

    def merged(self, later: ChainState) -> ChainState:
        """Return the state after several updates, of which ``later`` is the sum."""
        runs = {run.run: run for run in self.runs}
        new = [run for run in later.runs if run.run not in runs]
        for run in later.runs:
            if before := runs.get(run.run):
                runs[run.run] = RunState(
                    run=run.run,
                    first_write=min(before.first_write or run.first_write, run.first_write),
                    last_write=max(before.last_write, run.last_write),
                    datasets=added(before.datasets, run.datasets),
                    events=added(before.events, run.events),
                )
        return ChainState(chain=self.chain, runs=[*new, *runs.values()])


class _RunFields(TypedDict):
    run: _Name
    first_write: _Time
    last_write: _Time
    datasets: _Number
    events: _Number


class _StateFields(TypedDict):
    chain: _Name
    runs: list[_RunFields]


class _UpdateFields(TypedDict):
    chain: _Name
    run: _Name
    datasets: _Number
    events: _Number
    batch_id: str
    written_at: _Time


_STATE = TypeAdapter(_StateFields)
_UPDATE = TypeAdapter(_UpdateFields)


def read_chain_state(data: object) -> ChainState:
    """Return the chain that decoded JSON describes.

    Raises
    ------
    ValueError
        If it has another shape: it would be an error wherever the table is read.
    """
    fields = _STATE.validate_python(data)
    runs = [RunState(**run) for run in fields["runs"]]
    return ChainState(chain=fields["chain"], runs=runs)


def read_chain_update(data: object) -> ChainUpdate:
    """Return the update that decoded JSON describes.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    return ChainUpdate(**_UPDATE.validate_python(data))
