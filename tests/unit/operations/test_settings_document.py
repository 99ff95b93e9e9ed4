"""The settings that a page shows: all of them, and no secret."""

from __future__ import annotations

import os

import pytest

from app.operations.pages.settings_document import settings_document
from app.settings import Settings


def shown(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, tuple[str, bool]]:
    monkeypatch.setattr(os, "environ", variables)
    document = settings_document("w", Settings())
    return {each.variable: (each.value, each.is_default) for each in document.settings}


def test_every_setting_is_shown_with_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"BUTLER_WRITER_LANES": "4"})
    document = settings_document("w", Settings())
    by_name = {each.variable: each for each in document.settings}
    assert by_name["BUTLER_WRITER_LANES"].value == "4"
    assert not by_name["BUTLER_WRITER_LANES"].is_default
    assert by_name["BUTLER_WRITER_WRITE_PATH"].value == "records"
    assert by_name["BUTLER_WRITER_WRITE_PATH"].is_default
    assert {"BUTLER_REPOSITORY", "KAFKA_CLUSTER", "WRITER_DEBUG_LEVEL"} <= by_name.keys()
    assert [each.variable for each in document.settings if not each.meaning] == []


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shown(
        monkeypatch,
        KAFKA_PASSWORD="top-secret",
        BUTLER_REPOSITORY="https://me:top-secret@host/butler.yaml",
        BUTLER_WRITER_STAGING_ROOTS="s3://key:top-secret@bucket/staging/",
    )
    assert found["KAFKA_PASSWORD"] == ("(set, and not shown)", False)
    assert found["BUTLER_REPOSITORY"][0] == "https://...@host/butler.yaml"
    assert "top-secret" not in str(found)


@pytest.mark.parametrize("password", ["top@secret", "top/secret", "top:secret@", "@/top@secret/"])
def test_no_part_of_a_password_is_shown(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    found = shown(monkeypatch, BUTLER_REPOSITORY=f"https://me:{password}@host/butler.yaml")
    assert found["BUTLER_REPOSITORY"][0] == "https://...@host/butler.yaml"


def test_a_token_instead_of_a_login_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shown(monkeypatch, BUTLER_REPOSITORY="https://top-secret@host/butler.yaml")
    assert found["BUTLER_REPOSITORY"][0] == "https://...@host/butler.yaml"


def test_a_password_that_is_not_set_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch)["KAFKA_PASSWORD"] == ("", True)
