"""An event as it waits in a window: its original bytes, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InvalidEventError
from models.prompt_output import PromptOutput

__all__ = ["Received"]


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the input topic.

    Attributes
    ----------
    key, value : `bytes` or `None`
        As they came; a dead letter carries them whole.
    output : `PromptOutput` or `InvalidEventError`
        The decoded event, or why it cannot be one.
    replays : `int`
        How often it came back from the dead letters.
    """

    key: bytes | None
    value: bytes | None
    output: PromptOutput | InvalidEventError
    replays: int = 0

    @classmethod
    def read(
        cls, key: bytes | None, value: bytes | None, max_bytes: int, replays: int = 0
    ) -> Received:
        """Decode a message; never raises (rule no-exception-leaves-an-agent)."""
        if value is not None and len(value) > max_bytes:
            reason = f"{len(value)} bytes, over the bound of {max_bytes}"
            return cls(key, value, InvalidEventError(reason), replays)
        try:
            return cls(key, value, PromptOutput.decode(value), replays)
        except InvalidEventError as exc:
            return cls(key, value, exc, replays)
        except Exception as exc:  # noqa: BLE001 - whatever a message provokes is its own fault
            return cls(key, value, InvalidEventError(f"{type(exc).__name__}: {exc}"), replays)
