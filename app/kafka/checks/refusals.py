"""Says why a login or a certificate is refused, and who can do something about it."""

from __future__ import annotations

import ssl
import time

from aiokafka.errors import AuthenticationFailedError, SaslAuthenticationFailed

from app.butler.descriptions import describe
from app.errors import LoginRefusedError, OperatorError, UnavailableError
from app.kafka.checks.access_rights import may_be_temporary
from app.kafka.connection import SASL_MECHANISM, KafkaConnection

__all__ = ["refusal"]

#: OpenSSL's results (``X509_V_ERR_...``) that concern the broker's certificate: it is not yet
#: valid, it has expired, it is for another host name, for another address.
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


def refusal(
    connection: KafkaConnection, error: BaseException, *, is_starting: bool
) -> OperatorError | None:
    """Return the error to raise if the brokers refuse the login, or their certificate is refused.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers, the login, and the authorities that are trusted.
    error : `BaseException`
        What a client has raised.
    is_starting : `bool`
        Whether it has never worked, so that a name in ``KAFKA_CLUSTER`` may be wrong.

    Returns
    -------
    error : `~app.errors.OperatorError` or `None`
        An `UnavailableError` if only the brokers can change that; otherwise a `LoginRefusedError`,
        since secrets and the file of the authorities are read when a worker starts.  `None` for
        other errors.
    """
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        return LoginRefusedError(
            f"Kafka at {connection.cluster} refuses the login of user {connection.username} "
            f"({SASL_MECHANISM}): {describe(error)}; check KAFKA_USERNAME and "
            "KAFKA_PASSWORD"
        )
    if isinstance(error, ssl.SSLError) and not may_be_temporary(error):
        return _of_certificate(connection, error, is_starting=is_starting)
    return None


def _of_certificate(
    connection: KafkaConnection, error: ssl.SSLError, *, is_starting: bool
) -> OperatorError:
    prefix = f"the certificate of Kafka at {connection.cluster} is refused: {describe(error)}"
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
