"""Fixtures of file stores."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from lsst.daf.butler import Config

from testbed.s3 import S3Server
from tests.support.faulty_store import Store
from tests.support.repositories import Repository


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with Store() as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        for name, value in S3Server().environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{store.server_port}")
        yield store
        store.goes_on.set()
        store.ends.set()
        store.shutdown()


@pytest.fixture
def on_s3(sqlite_repository: Repository, store: Store) -> Repository:
    """A repository whose datastore is in that service."""
    config = sqlite_repository.root / "butler.yaml"
    changed = Config(str(config))
    changed["datastore", "root"] = "s3://bucket/butler/"
    changed.dumpToUri(str(config))
    return sqlite_repository
