"""The typed Records: the wire contract and the internal messages."""

from models.batch_ingested import BatchIngested, dataset_list, dataset_list_name
from models.chains import ChainState, ChainUpdate, RunState
from models.dead_letter import DeadLetter
from models.prompt_output import InvalidEventError, PromptOutput

__all__ = [
    "BatchIngested",
    "ChainState",
    "ChainUpdate",
    "DeadLetter",
    "InvalidEventError",
    "PromptOutput",
    "RunState",
    "dataset_list",
    "dataset_list_name",
]
