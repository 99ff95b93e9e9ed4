"""The connection options of Kafka clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.kafka.connection import KafkaConnection
from app.settings import KafkaSettings, SettingsError


def connection(monkeypatch: pytest.MonkeyPatch, **variables: str) -> KafkaConnection:
    monkeypatch.setenv("KAFKA_CLUSTER", "one:9092, two:9093")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return KafkaConnection.of(KafkaSettings())


LOGIN = {"KAFKA_USERNAME": "writer", "KAFKA_PASSWORD": "secret"}
TLS = {"BUTLER_WRITER_KAFKA_TLS": "true"}


def test_without_login_and_tls_the_connection_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection(monkeypatch).client_options == {
        "bootstrap_servers": ["one:9092", "two:9093"],
        "security_protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize(
    ("variables", "protocol"),
    [(TLS, "SSL"), (LOGIN, "SASL_PLAINTEXT"), (LOGIN | TLS, "SASL_SSL")],
)
def test_login_and_tls_determine_the_protocol(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], protocol: str
) -> None:
    made = connection(monkeypatch, **variables)
    options = made.client_options
    assert options["security_protocol"] == protocol
    assert options["ssl_context"] is made.tls_context
    assert (made.tls_context is not None) == ("SSL" in protocol.split("_"))
    login = {name: value for name, value in options.items() if name.startswith("sasl_")}
    assert login == (
        {
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "writer",
            "sasl_plain_password": "secret",
        }
        if "SASL" in protocol
        else {}
    )


def test_the_password_is_not_in_the_text_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    made = connection(monkeypatch, **LOGIN)
    assert made.password == "secret"
    assert "secret" not in repr(made)


def test_an_unreadable_ca_file_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    absent = tmp_path / "absent.pem"
    with pytest.raises(SettingsError) as caught:
        connection(monkeypatch, **TLS, BUTLER_WRITER_KAFKA_CA_FILE=str(absent))
    assert str(caught.value).startswith(f"BUTLER_WRITER_KAFKA_CA_FILE='{absent}': ")
