"""Settings of the windows."""

from __future__ import annotations

from pydantic import Field

from app.butler.policy import Count, Seconds
from app.intake.windows import WindowBounds
from app.settings.section import MIB, Bytes, Section

__all__ = ["ReplicaWindowSettings", "WindowSettings"]


class WindowSettings(Section):
    """The size of windows, and the limit on what waits in memory."""

    window_seconds: Seconds = 1.0
    """Length of a window."""
    window_events: Count = 500
    """The most events of a window."""
    window_bytes: Bytes = 16 * MIB
    """The most bytes of a window's events; as many are fetched ahead."""
    max_bytes_held: int = Field(48 * MIB, ge=1, le=1024 * 1024 * MIB)
    """Limit on the bytes of all events that are received and not yet written."""
    lanes: int = Field(2, ge=1, le=16)
    """How many windows are written at once, each with a database connection of its own."""
    shutdown_timeout: Seconds = 20.0
    """Seconds to flush open windows on SIGTERM; other events will be redelivered."""

    @property
    def bounds(self) -> WindowBounds:
        """When a window closes."""
        return WindowBounds(self.window_seconds, self.window_events, self.window_bytes, self.lanes)


class ReplicaWindowSettings(WindowSettings):
    """The windows of the role ``replicate``, which get messages with many datasets each."""

    window_bytes: Bytes = 4 * MIB
    """The most bytes of a window's messages, some 8,000 datasets: a backlog must not become
    transactions that last as long as a statement may take."""
