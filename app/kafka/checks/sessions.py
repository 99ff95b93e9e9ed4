"""Asks the brokers which session timeouts they accept: a consumer would join for ever in vain."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.kafka.connection import KafkaConnection, admin_client
from app.settings import KafkaSettings

__all__ = ["session_mismatch"]

_LEAST, _MOST = "group.min.session.timeout.ms", "group.max.session.timeout.ms"

#: Seconds to wait for a broker's answer.
_TIMEOUT_SECONDS = 5.0


async def session_mismatch(connection: KafkaConnection, settings: KafkaSettings) -> str | None:
    """Return why the brokers would refuse the session timeout.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.KafkaSettings`
        Has the session timeout.

    Returns
    -------
    reason : `str` or `None`
        One line with the variable and the remedy; `None` if they accept it, or do not tell this
        user, who needs the right DESCRIBE_CONFIGS on the cluster.

    Raises
    ------
    KafkaError
        If they cannot be asked.
    """
    async with admin_client(connection, _TIMEOUT_SECONDS) as admin:
        limits = await _limits(admin)
    milliseconds = round(settings.session_timeout * 1000)
    least, most = limits.get(_LEAST), limits.get(_MOST)
    if (least is None or milliseconds >= least) and (most is None or milliseconds <= most):
        return None
    allowed = " to ".join(f"{limit / 1000:g}" for limit in (least, most) if limit is not None)
    return (
        f"BUTLER_WRITER_KAFKA_SESSION_TIMEOUT={settings.session_timeout:g} is refused by the "
        f"brokers, which accept {allowed} s; change it, or their {_LEAST} and {_MOST}"
    )


async def _limits(admin: AIOKafkaAdminClient) -> Mapping[str, int]:
    brokers = (await admin.describe_cluster())["brokers"]
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.BROKER, str(brokers[0]["node_id"]))]
    )
    return {
        entry[0]: int(entry[1])
        for response in responses
        for code, _message, _type, _name, entries in response.resources
        if not code
        for entry in entries
        if entry[0] in (_LEAST, _MOST) and entry[1]
    }
