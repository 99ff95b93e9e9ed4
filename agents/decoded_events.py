"""The events of a window, decoded one at a time.

A decoded event takes about nine times the memory of its message.  Most of its content is the same
in all events of a window, so a parsed window is small.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from typing import TypeVar

from app.butler.descriptions import describe_with_type
from app.butler.events.limits import EventLimits
from app.butler.events.proportion import check_message
from app.butler.outcome import Rejection
from app.intake.received import Received
from app.intake.windows import Arrival
from models.errors import InvalidEventError, OverLimitError
from models.fields import EventContent
from models.prompt_output import PromptOutput

__all__ = ["DecodedEvents", "decode", "decoded"]

T = TypeVar("T")


class DecodedEvents(Mapping[Arrival[Received], EventContent]):
    """The events of a window; each is decoded whenever it is asked for, and not kept.

    `items` leaves out those that cannot be decoded.

    Parameters
    ----------
    arrivals : `~collections.abc.Sequence` [`Arrival`]
        The events as they were received.
    max_bytes : `int`
        Size of the largest event that is accepted.
    limits : `EventLimits`, optional
        How much an event may have; without it, the defaults apply.

    Attributes
    ----------
    rejected : `dict` [`Arrival`, `Rejection`]
        Those that cannot be decoded, as far as `items` has found them.
    """

    def __init__(
        self,
        arrivals: Sequence[Arrival[Received]],
        max_bytes: int,
        limits: EventLimits | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._max_bytes = max_bytes
        self._limits = limits or EventLimits()
        self.rejected: dict[Arrival[Received], Rejection] = {}

    def __getitem__(self, arrival: Arrival[Received]) -> EventContent:
        received = arrival.payload
        check_message(received.key, received.value, received.headers, self._limits)
        return decode(received.value, self._max_bytes)

    def __iter__(self) -> Iterator[Arrival[Received]]:
        return (arrival for arrival in self._arrivals if arrival not in self.rejected)

    def __len__(self) -> int:
        return len(self._arrivals) - len(self.rejected)

    def items(self) -> ItemsView[Arrival[Received], EventContent]:
        """Return a view that decodes the events."""
        return _DecodedItems(self)


class _DecodedItems(ItemsView[Arrival[Received], EventContent]):
    """The events that can be decoded."""

    _mapping: DecodedEvents

    def __iter__(self) -> Iterator[tuple[Arrival[Received], EventContent]]:
        for arrival in self._mapping:
            try:
                if arrival.payload.refused is not None:
                    raise arrival.payload.refused
                event = self._mapping[arrival]
            except InvalidEventError as exc:
                self._mapping.rejected[arrival] = Rejection.of(exc)
            else:
                yield arrival, event


def decode(value: bytes | None, max_bytes: int) -> PromptOutput:
    """Decode a message of the input topic.

    Parameters
    ----------
    value : `bytes` or `None`
        The message's value.
    max_bytes : `int`
        Size of the largest event that is accepted.

    Raises
    ------
    InvalidEventError
        If it is not an event, whatever the error is: a message that cannot be decoded is bad.
    """
    return decoded(PromptOutput.decode, value, max_bytes)


def decoded(decode: Callable[[bytes | None], T], value: bytes | None, max_bytes: int) -> T:
    """Decode a message with the function of its type; otherwise as `decode`.

    Parameters
    ----------
    decode : `~collections.abc.Callable`
        Decodes a message's value.
    value : `bytes` or `None`
        The message's value.
    max_bytes : `int`
        Size of the largest message that is accepted.
    """
    if value is not None and len(value) > max_bytes:
        raise OverLimitError(
            f"{len(value)} bytes, more than the limit of {max_bytes} "
            "(BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES)"
        )
    try:
        return decode(value)
    except InvalidEventError:
        raise
    except Exception as exc:
        raise InvalidEventError(describe_with_type(exc)) from exc
