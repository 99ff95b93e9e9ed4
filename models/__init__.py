"""The typed Records: the wire contract and the internal messages."""

from models.prompt_output import InvalidEventError, PromptOutput

__all__ = ["InvalidEventError", "PromptOutput"]
