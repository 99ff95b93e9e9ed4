"""The table ``chains``, for operators, pages and tools; no write depends on it."""

from __future__ import annotations

from app import app
from app.kafka.checks.required import CHAIN_PARTITIONS
from models.chains import ChainState

__all__ = ["chains"]

chains = app.Table(
    "chains",
    key_type=str,
    value_type=ChainState,
    partitions=CHAIN_PARTITIONS,
    help="Each chain's runs, newest first, and what was written to them.",
)
