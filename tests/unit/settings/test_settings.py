"""Settings from the environment, and the file that documents all of them."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from app.butler.policy import FileCheck, WriteMethod, WritePolicy
from app.settings import Settings, SettingsError, doubtful_variables, load_settings
from testbed.worker import CHECKOUT

#: The variables that a worker requires.
COMPLETE = {
    "BUTLER_REPOSITORY": "/repo/main",
    "KAFKA_CLUSTER": "broker-1:9092, broker-2:9092",
    "KAFKA_TOPIC": "events",
    "KAFKA_OUTPUT_TOPIC": "ingested",
    "OUTPUT_DATASET_LIST_DIRECTORY": "s3://bucket/lists/",
}

#: Variables that lsst.resources, boto3 and daf_butler read.
OTHERS = {
    "AWS_SHARED_CREDENTIALS_FILE",
    "DAF_BUTLER_REPOSITORY_INDEX",
    "LSST_DB_AUTH",
    "S3_ENDPOINT_URL",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty environment for this process."""
    empty: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", empty)
    return empty


def variables(settings: Settings) -> Iterator[tuple[str, object]]:
    """Yield the environment variable of each setting, and the setting's value."""
    sections: dict[str, BaseSettings] = vars(settings)
    for section in sections.values():
        for name, field in type(section).model_fields.items():
            variable = field.validation_alias or f"BUTLER_WRITER_{name.upper()}"
            yield str(variable), getattr(section, name)


def example(tmp_path: Path) -> dict[str, str]:
    """Return the variables in ``.env.example``, with those that are commented out."""
    text = (CHECKOUT / ".env.example").read_text()
    variable = re.compile("^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
    names = variable.findall(text)
    assert len(names) == len(set(names))
    file = tmp_path / "env"
    file.write_text(variable.sub(r"\1=", text))
    read = f"set -a; . {file}; env -0"
    said = subprocess.run(["sh", "-ec", read], env={}, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in said.stdout.split("\0")[:-1])
    return {name: found[name] for name in names}


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("BUTLER_WRITER_WRITE_PATH", "fast", "'records' or 'public'"),
        ("BUTLER_WRITER_FILE_CHECK", "some", "'all', 'sample' or 'none'"),
        ("BUTLER_WRITER_WINDOW_EVENTS", "many", "integer"),
        ("BUTLER_WRITER_WINDOW_EVENTS", "0", "greater than or equal to 1"),
        ("BUTLER_WRITER_WINDOW_SECONDS", "-1", "greater than or equal to 0.001"),
        ("BUTLER_WRITER_KAFKA_TLS", "maybe", "boolean"),
        ("BUTLER_WRITER_KAFKA_CA_FILE", "/ca.pem", "set BUTLER_WRITER_KAFKA_TLS=true, or unset it"),
        ("BUTLER_WRITER_KAFKA_CERT_FILE", "/me.pem", "set BUTLER_WRITER_KAFKA_TLS=true, or"),
        ("BUTLER_WRITER_ALLOWED_FORMATTERS", "(lsst", "not a regular expression: .*position 0"),
        ("BUTLER_WRITER_CHAIN_PATTERN", "(?P<chain>.+", "not a regular expression"),
        ("BUTLER_WRITER_CHAIN_PATTERN", "^(.+)/.+$", r"a group \(\?P<chain>\.\.\.\)"),
        ("KAFKA_DEBUG", "yes", "'0' or '1'"),
        ("OUTPUT_DATASET_LIST_DIRECTORY", "ftp://host/lists/", "scheme: 'ftp'"),
        ("BUTLER_WRITER_STAGING_ROOTS", "/staging,ftp://host/", "scheme: 'ftp'"),
        ("KAFKA_CLUSTER", "broker-1:9092,broker-2:kafka", "not host:port"),
        ("KAFKA_CLUSTER", ",", "not host:port"),
        ("KAFKA_CLUSTER", "broker-1:0", "not host:port"),
        ("KAFKA_CLUSTER", "kafka://broker-1:9092", "not host:port"),
        ("KAFKA_TOPIC", "my events", "should match pattern"),
        ("KAFKA_OUTPUT_TOPIC", " ingested", "should match pattern"),
        ("BUTLER_WRITER_KAFKA_GROUP", "writer/1", "should match pattern"),
        ("BUTLER_WRITER_WEB_HOST", "http://pod-1", "neither a host name nor an address"),
        ("BUTLER_WRITER_WEB_HOST", "fd00::g", "neither a host name nor an address"),
    ],
)
def test_the_error_for_a_wrong_value_names_its_variable(
    environment: dict[str, str], variable: str, value: str, reason: str
) -> None:
    environment.update(COMPLETE | {variable: value})

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(f"{variable}={value!r}: ")
    assert re.search(reason, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_key_needs_its_certificate(environment: dict[str, str]) -> None:
    tls = {"BUTLER_WRITER_KAFKA_TLS": "true", "BUTLER_WRITER_KAFKA_KEY_FILE": "/key.pem"}
    environment.update(COMPLETE | tls)
    with pytest.raises(SettingsError, match="set BUTLER_WRITER_KAFKA_CERT_FILE too"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("pod-1.writers", "pod-1.writers"),
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "[fd00::1]"),
        ("[fd00::1]", "[fd00::1]"),
    ],
)
def test_a_worker_may_be_called_by_a_name_or_an_address(
    environment: dict[str, str], value: str, host: str
) -> None:
    environment["BUTLER_WRITER_WEB_HOST"] = value
    assert load_settings().service.web_host == host


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "-1", "0", "1e300", "9" * 30, "9" * 5000])
def test_no_number_may_be_endless_negative_zero_or_absurd(
    environment: dict[str, str], value: str
) -> None:
    numbers = [name for name, annotation in types(load_settings()) if is_number(annotation)]
    assert len(numbers) > 15
    for name in numbers:
        environment.clear()
        environment[name] = value

        with pytest.raises(SettingsError) as caught:
            load_settings()

        assert str(caught.value).startswith(f"{name}={value!r:.100}")
        assert len(str(caught.value)) < 300


def types(settings: Settings) -> Iterator[tuple[str, object]]:
    """Yield the environment variable of each setting, and the setting's type."""
    sections: dict[str, BaseSettings] = vars(settings)
    for section in sections.values():
        for name, field in type(section).model_fields.items():
            yield str(field.validation_alias or f"BUTLER_WRITER_{name.upper()}"), field.annotation


def is_number(annotation: object) -> bool:
    return not {float, int}.isdisjoint({annotation, *get_args(annotation)}) or any(
        is_number(inner) for inner in get_args(annotation)
    )


def refusal(environment: Mapping[str, str]) -> str:
    """Return the error of a worker that cannot connect with an environment."""
    os.environ.update(environment)
    with pytest.raises(SettingsError) as caught:
        load_settings().require_connections()
    return str(caught.value)


@pytest.mark.parametrize("variable", COMPLETE)
def test_an_empty_variable_counts_as_missing(environment: dict[str, str], variable: str) -> None:
    assert refusal(COMPLETE | {variable: ""}) == f"not set: {variable}"


def test_an_empty_variable_means_the_default(environment: dict[str, str]) -> None:
    defaults = dict(variables(load_settings()))
    mean_something = {"BUTLER_WRITER_CHAIN_PATTERN", "BUTLER_WRITER_PRODUCTS_TOPIC"}
    environment.update(dict.fromkeys(defaults.keys() - mean_something, ""))

    assert dict(variables(load_settings())) == defaults


def test_an_empty_chain_pattern_switches_chains_off(environment: dict[str, str]) -> None:
    assert load_settings().write.chain_pattern is not None
    environment["BUTLER_WRITER_CHAIN_PATTERN"] = ""

    assert load_settings().write.chain_pattern is None


def test_the_product_log_is_named_after_the_input_topic(environment: dict[str, str]) -> None:
    environment["KAFKA_TOPIC"] = "night"
    assert load_settings().kafka.product_topic == "night-products"
    environment["BUTLER_WRITER_PRODUCTS_TOPIC"] = "elsewhere"
    assert load_settings().kafka.product_topic == "elsewhere"


def test_an_empty_products_topic_switches_the_product_log_off(environment: dict[str, str]) -> None:
    environment["BUTLER_WRITER_PRODUCTS_TOPIC"] = ""
    assert load_settings().kafka.product_topic is None


def test_the_write_policy_is_read_from_the_environment(environment: dict[str, str]) -> None:
    environment.update(
        {
            "BUTLER_WRITER_WRITE_PATH": "public",
            "BUTLER_WRITER_FILE_CHECK": "sample",
            "BUTLER_WRITER_STAGING_ROOTS": "/staging/one, s3://bucket/two",
            "BUTLER_WRITER_ALLOWED_FORMATTERS": "^ours$",
            "BUTLER_WRITER_LOCK_TIMEOUT": "2.5",
        }
    )

    policy = load_settings().write

    assert policy.write_method is WriteMethod.PUBLIC
    assert policy.file_check is FileCheck.SAMPLE
    assert [str(root) for root in policy.staging_roots] == [
        "file:///staging/one/",
        "s3://bucket/two/",
    ]
    assert policy.allowed_formatters.pattern == "^ours$"
    assert policy.lock_timeout == 2.5


def test_a_step_may_take_as_long_as_the_copies_of_staged_artifacts(
    environment: dict[str, str],
) -> None:
    assert load_settings().step_max_seconds == 300
    environment["BUTLER_WRITER_STAGING_TIMEOUT"] = "900"
    assert load_settings().step_max_seconds == 300
    environment["BUTLER_WRITER_STAGING_ROOTS"] = "/staging"
    assert load_settings().step_max_seconds == 960


def test_the_settings_have_the_defaults_of_the_write_policy(environment: dict[str, str]) -> None:
    settings, policy = load_settings().write, WritePolicy()

    assert {name: getattr(settings, name) for name in WritePolicy.model_fields} == dict(policy)


def test_the_write_policy_cannot_be_changed(environment: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().write.lock_timeout = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("variable", ["KAFKA_USERNAME", "KAFKA_PASSWORD"])
def test_a_user_without_a_password_or_the_reverse_is_refused_without_showing_it(
    environment: dict[str, str], variable: str
) -> None:
    said = refusal(COMPLETE | {variable: "half-secret"})

    assert said == "KAFKA_USERNAME and KAFKA_PASSWORD go together; only one is set"


def test_a_password_is_not_shown(environment: dict[str, str]) -> None:
    environment["KAFKA_PASSWORD"] = "kafka-secret"

    assert "kafka-secret" not in repr(load_settings().kafka)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("DEBUG", logging.DEBUG),
        ("warning", logging.WARNING),
        ("CHATTY", logging.INFO),
        ("", logging.INFO),
    ],
)
def test_an_unknown_log_level_means_info(
    environment: dict[str, str], level: str, expected: int
) -> None:
    environment["WRITER_DEBUG_LEVEL"] = level

    assert load_settings().service.log_level == expected


def test_libraries_may_have_levels_of_their_own(environment: dict[str, str]) -> None:
    assert load_settings().service.library_levels == {}
    environment["BUTLER_WRITER_LOG_LEVELS"] = "lsst.daf.butler=DEBUG, faust=info"

    levels = load_settings().service.library_levels

    assert levels == {"lsst.daf.butler": "DEBUG", "faust": "INFO"}


@pytest.mark.parametrize("text", ["DEBUG", "faust=", "=DEBUG", "faust=LOUD", "faust=INFO,", "a b"])
def test_levels_of_libraries_that_cannot_be_read_are_refused(
    environment: dict[str, str], text: str
) -> None:
    said = refusal(environment | {"BUTLER_WRITER_LOG_LEVELS": text})

    assert said.startswith(f"BUTLER_WRITER_LOG_LEVELS={text!r}: not logger=LEVEL[,logger=LEVEL...]")


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        (
            "BUTLER_WRITER_WINDOW_SECOND",
            " is unknown and has no effect; did you mean BUTLER_WRITER_WINDOW_SECONDS?",
        ),
        ("BUTLER_WRITER_XYZZY", " is unknown and has no effect; remove it"),
        (
            "WRITER_DEBUG_LEVEL",
            "='x' is unknown, INFO is used; set DEBUG, INFO, WARNING, ERROR or CRITICAL",
        ),
    ],
)
def test_a_variable_without_effect_is_described_with_the_remedy(
    environment: dict[str, str], variable: str, reason: str
) -> None:
    environment[variable] = "x"

    assert list(doubtful_variables(environment, load_settings())) == [f"{variable}{reason}"]


def test_known_variables_and_those_of_kubernetes_are_not_doubtful(
    environment: dict[str, str],
) -> None:
    known = dict.fromkeys((name for name, _ in variables(load_settings())), "")
    of_kubernetes = dict.fromkeys(
        ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_6066_TCP_ADDR"], "x"
    )
    environment.update(known)
    environment.update({f"BUTLER_WRITER_{name}": v for name, v in of_kubernetes.items()})

    assert list(doubtful_variables(environment, load_settings())) == []


@pytest.mark.parametrize(
    ("names", "first", "second"),
    [
        ({"KAFKA_OUTPUT_TOPIC": "events"}, "KAFKA_TOPIC", "KAFKA_OUTPUT_TOPIC"),
        (
            {"KAFKA_OUTPUT_TOPIC": "events-dead-letters"},
            "KAFKA_OUTPUT_TOPIC",
            "the dead-letter topic (<KAFKA_TOPIC>-dead-letters)",
        ),
        (
            {"KAFKA_OUTPUT_TOPIC": "events-chain-updates"},
            "KAFKA_OUTPUT_TOPIC",
            "the topic of chain updates (<KAFKA_TOPIC>-chain-updates)",
        ),
        (
            {"KAFKA_OUTPUT_TOPIC": "butler-writer-chains-changelog"},
            "KAFKA_OUTPUT_TOPIC",
            "the changelog (<BUTLER_WRITER_KAFKA_GROUP>-chains-changelog)",
        ),
        (
            {"KAFKA_TOPIC": "ours-chains-changelog", "BUTLER_WRITER_KAFKA_GROUP": "ours"},
            "KAFKA_TOPIC",
            "the changelog (<BUTLER_WRITER_KAFKA_GROUP>-chains-changelog)",
        ),
    ],
)
def test_no_two_topics_have_the_same_name(
    environment: dict[str, str], names: dict[str, str], first: str, second: str
) -> None:
    said = refusal(COMPLETE | names)

    same = next(iter(names.values()))
    assert said == (
        f"{first} and {second} are both {same!r}: each needs a topic of its own; set one of them "
        "to another name"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("'{}'", "the quotes are part of the value; remove them"),
        ('"{}"', "the quotes are part of the value; remove them"),
        ("{}  # ours", "the comment is part of the value; remove it"),
        ("{}\n", "the value begins or ends with a space or a newline; remove it"),
        (" {}", "the value begins or ends with a space or a newline; remove it"),
        ("  ", "the value begins or ends with a space or a newline; remove it"),
    ],
)
@pytest.mark.parametrize(
    "variable",
    [
        "BUTLER_REPOSITORY",
        "OUTPUT_DATASET_LIST_DIRECTORY",
        "BUTLER_WRITER_ALLOWED_FORMATTERS",
        "BUTLER_WRITER_DATA_DIRECTORY",
        "BUTLER_WRITER_KAFKA_CA_FILE",
    ],
)
def test_what_a_file_of_variables_has_around_a_value_is_refused(
    environment: dict[str, str], variable: str, value: str, reason: str
) -> None:
    value = value.format("/repo/main")
    environment.update(COMPLETE | {"BUTLER_WRITER_KAFKA_TLS": "true", variable: value})

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value) == f"{variable}={value!r}: {reason}"


def test_a_newline_after_the_brokers_or_a_number_and_any_password_are_accepted(
    environment: dict[str, str],
) -> None:
    environment.update(
        COMPLETE
        | {
            "KAFKA_CLUSTER": "broker:9092\n",
            "BUTLER_WRITER_WINDOW_SECONDS": "2\n",
            "KAFKA_USERNAME": "writer",
            "KAFKA_PASSWORD": "' # '",
        }
    )

    settings = load_settings()

    settings.require_connections()
    assert settings.kafka.brokers == ["broker:9092"]
    assert settings.windows.window_seconds == 2


@pytest.mark.parametrize("value", ["30s", "'30'", "30 # seconds", "1,5", "\u0663\u0660 s", "  "])
def test_a_number_with_anything_beside_it_is_refused_with_the_remedy(
    environment: dict[str, str], value: str
) -> None:
    for name, annotation in types(load_settings()):
        if is_number(annotation):
            environment.clear()
            environment[name] = value

            with pytest.raises(SettingsError, match="number alone, such as 30: no unit") as caught:
                load_settings()

            assert str(caught.value).startswith(f"{name}={value!r}: ")


def test_the_example_has_every_setting_and_no_other(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ours = [name for name, _ in variables(load_settings())]

    assert sorted(example(tmp_path)) == sorted([*ours, *OTHERS])


def test_the_example_has_the_defaults(environment: dict[str, str], tmp_path: Path) -> None:
    defaults = dict(variables(load_settings()))
    environment.update(example(tmp_path))

    as_the_example_says = dict(variables(load_settings()))

    required = {"BUTLER_REPOSITORY", "KAFKA_CLUSTER", "OUTPUT_DATASET_LIST_DIRECTORY"}
    assert {name for name in defaults if as_the_example_says[name] != defaults[name]} == required


def test_the_example_sets_what_is_required_and_nothing_else() -> None:
    text = (CHECKOUT / ".env.example").read_text()

    assert re.findall(r"^([A-Z0-9_]+)=", text, re.MULTILINE) == list(COMPLETE)


REPLICA = {
    "BUTLER_WRITER_ROLE": "replicate",
    "BUTLER_REPOSITORY": "/repo/public",
    "KAFKA_CLUSTER": "broker-1:9092",
    "KAFKA_TOPIC": "events",
    "BUTLER_WRITER_SOURCE_ROOT": "/repo/main",
}


def test_a_downstream_repository_has_names_of_its_own(environment: dict[str, str]) -> None:
    environment.update(REPLICA)
    settings = load_settings()
    settings.require_connections()
    kafka = settings.kafka
    group = "butler-writer-replicate-public"
    assert (kafka.topic, kafka.group, kafka.product_topic) == ("events-products", group, None)
    own = {f"{group}-{name}" for name in ("dead-letters", "chain-updates", "chains-changelog")}
    assert own | {kafka.topic, f"{group}-waiting-changelog"} == set(kafka.topic_names.values())
    assert settings.data_directory == settings.service.data_directory / group


def test_the_windows_of_a_downstream_repository_are_smaller(environment: dict[str, str]) -> None:
    environment.update(REPLICA)
    assert load_settings().windows.window_bytes == 4 * 1024 * 1024
    environment["BUTLER_WRITER_WINDOW_BYTES"] = "1000"
    assert load_settings().windows.window_bytes == 1000
    environment["BUTLER_WRITER_ROLE"] = "write"
    del environment["BUTLER_WRITER_WINDOW_BYTES"]
    assert load_settings().windows.window_bytes == 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("/repo/public", "public"),
        ("/repo/public/", "public"),
        ("/repo/public/butler.yaml", "public"),
        ("s3://bucket/the repo/butler.yaml", "the-repo"),
        ("embargo", "embargo"),
        ("file:///", "target"),
    ],
)
def test_the_name_of_a_target_comes_from_its_repository(
    environment: dict[str, str], repository: str, name: str
) -> None:
    environment.update(REPLICA | {"BUTLER_REPOSITORY": repository})
    assert load_settings().kafka.group == f"butler-writer-replicate-{name}"
    environment["BUTLER_WRITER_TARGET"] = "other"
    assert load_settings().kafka.group == "butler-writer-replicate-other"


def test_a_downstream_repository_requires_its_source(environment: dict[str, str]) -> None:
    environment.update(REPLICA | {"BUTLER_WRITER_SOURCE_ROOT": "", "KAFKA_TOPIC": ""})
    with pytest.raises(SettingsError, match="not set: KAFKA_TOPIC, BUTLER_WRITER_SOURCE_ROOT"):
        load_settings().require_connections()
    environment.update(KAFKA_TOPIC="events", BUTLER_WRITER_TRANSFER="in-place")
    load_settings().require_connections()


def test_a_downstream_repository_does_not_log_into_the_log_that_it_reads(
    environment: dict[str, str],
) -> None:
    environment.update(REPLICA | {"BUTLER_WRITER_PRODUCTS_TOPIC": "events-products"})
    with pytest.raises(SettingsError, match="are both 'events-products'"):
        load_settings().require_connections()
    environment["BUTLER_WRITER_PRODUCTS_TOPIC"] = "released"
    assert load_settings().kafka.product_topic == "released"
