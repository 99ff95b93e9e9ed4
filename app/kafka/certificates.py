"""Says why a broker's certificate is refused, and who can do something about it."""

from __future__ import annotations

import ssl
import time

from app.errors import LoginRefusedError, OperatorError, UnavailableError
from app.kafka.connection import KafkaConnection

__all__ = ["certificate_error"]

#: OpenSSL's results (``X509_V_ERR_...``) that concern the broker's certificate: it is not yet
#: valid, it has expired, it is for another host name, for another address.
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


def certificate_error(
    connection: KafkaConnection, error: ssl.SSLError, *, is_starting: bool
) -> OperatorError:
    """Return the error to raise for a certificate that is refused.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers, and the authorities that are trusted.
    error : `ssl.SSLError`
        The refusal.
    is_starting : `bool`
        Whether it has never worked, so that a name in ``KAFKA_CLUSTER`` may be wrong.

    Returns
    -------
    error : `~app.errors.OperatorError`
        An `UnavailableError` if only the brokers can change that; otherwise a `LoginRefusedError`,
        since the file of the authorities is read when a worker starts.
    """
    prefix = f"the certificate of Kafka at {connection.cluster} is refused: "
    prefix += " ".join(str(error).split())
    code = getattr(error, "verify_code", 0)
    if code in (_NOT_YET_VALID, _EXPIRED) and _has_valid_authority(connection.tls_context):
        return UnavailableError(
            f"{prefix}; renew the brokers' certificate, or set the clocks right", "Kafka"
        )
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        reason = (
            f"{prefix}; give the brokers a certificate for the host names in KAFKA_CLUSTER and "
            "in their advertised.listeners, or correct these"
        )
        return LoginRefusedError(reason) if is_starting else UnavailableError(reason, "Kafka")
    return LoginRefusedError(
        f"{prefix}; check BUTLER_WRITER_KAFKA_CA_FILE, which must have the authority of the "
        "brokers' certificate"
    )


def _has_valid_authority(context: ssl.SSLContext | None) -> bool:
    """Return whether an authority is valid now; a new file has others."""
    if context is None:
        return False
    now = time.time()
    # The system's authorities may not be loaded before they are needed.
    found = context.get_ca_certs()
    return not found or any(
        ssl.cert_time_to_seconds(str(each["notBefore"]))
        <= now
        < ssl.cert_time_to_seconds(str(each["notAfter"]))
        for each in found
    )
