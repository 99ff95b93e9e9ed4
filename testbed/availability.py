"""What a part says when this machine cannot run it."""

__all__ = ["PartUnavailableError"]


class PartUnavailableError(Exception):
    """Raised if this machine lacks what a part needs; the text says what, and what would help."""
