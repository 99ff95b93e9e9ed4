"""What a part says when this machine cannot run it."""

__all__ = ["PartUnavailableError"]


class PartUnavailableError(Exception):
    """This machine lacks what a part needs; the text says what, and what would help."""
