"""The pods' side of Butler Writer: writes the outputs of a Prompt Processing pod."""

from butler_writer_client.errors import TransferError
from butler_writer_client.export import Artifact, export_artifacts
from butler_writer_client.kafka import KafkaTopic, Undelivered
from butler_writer_client.writer import EventTopic, Mode, PromptOutputWriter

__all__ = [
    "Artifact",
    "EventTopic",
    "KafkaTopic",
    "Mode",
    "PromptOutputWriter",
    "TransferError",
    "Undelivered",
    "export_artifacts",
]
