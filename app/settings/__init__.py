"""The worker's settings, from environment variables.

The variables of the deployed service keep their names (``BUTLER_REPOSITORY``, ``KAFKA_*``,
``OUTPUT_DATASET_LIST_DIRECTORY``, ``WRITER_DEBUG_LEVEL``); all others are ``BUTLER_WRITER_*``.
Nothing is required to load the application, only to connect: ``faust -A app agents`` works with an
empty environment.
"""

from __future__ import annotations

from app.settings.butler import ButlerSettings
from app.settings.composition import Settings, SettingsError, load_settings
from app.settings.doubtful import doubtful_variables
from app.settings.downstream import DownstreamSettings, ReplicaKafkaSettings, Role
from app.settings.kafka import KafkaSettings
from app.settings.section import MIB
from app.settings.service import ServiceSettings
from app.settings.windows import WindowSettings

__all__ = [
    "MIB",
    "ButlerSettings",
    "DownstreamSettings",
    "KafkaSettings",
    "ReplicaKafkaSettings",
    "Role",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "WindowSettings",
    "doubtful_variables",
    "load_settings",
]
