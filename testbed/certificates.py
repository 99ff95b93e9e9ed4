"""A certificate authority, for servers on this machine."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]

_DAY = timedelta(days=1)


class Authority:
    """Issues certificates.

    Parameters
    ----------
    since, until
        When its own certificate is valid, from now on.
    """

    def __init__(self, since: timedelta = -_DAY, until: timedelta = _DAY) -> None:
        self._name = _name("authority")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(self._name, self._key, since, until, is_authority=True)

    @property
    def certificate(self) -> bytes:
        """Its own certificate (PEM), which clients must trust."""
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self, address: str = "127.0.0.1", since: timedelta = -_DAY, until: timedelta = _DAY
    ) -> bytes:
        """Return a key and a certificate for a server (PEM).

        Parameters
        ----------
        address
            The server's address.
        since, until
            When the certificate is valid, from now on.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(address), key, since, until, address=address)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private + certificate.public_bytes(Encoding.PEM)

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        since: timedelta,
        until: timedelta,
        *,
        address: str | None = None,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
