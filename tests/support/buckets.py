"""Buckets that a deployment keeps its artifacts and dataset lists in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Config

from testbed.s3 import S3Server
from tests.support.deployment import Deployment

__all__ = ["Bucket"]


@dataclass
class Bucket:
    """A bucket that holds a deployment's artifacts and dataset lists."""

    server: S3Server
    name: str

    @property
    def root(self) -> str:
        """Where the datastore is."""
        return f"s3://{self.name}/butler/"

    @property
    def lists(self) -> str:
        """Where the dataset lists go."""
        return f"s3://{self.name}/lists/"

    def put(self, key: str, content: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=key, Body=content)

    def keys(self, prefix: str) -> list[str]:
        found = self.server.client().list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", ())]

    def upload(
        self, event: dict[str, Any], *, but: int | None = None, prefix: str = "butler/"
    ) -> None:
        """Put an event's artifacts at their places, with one exception perhaps."""
        for n, dataset in enumerate(event["datasets"]):
            if n != but:
                (ref,) = dataset["refs"].values()
                self.put(f"{prefix}{dataset['path']}", json.dumps(ref["data_id"]).encode())

    def hold_artifacts_of(self, deployment: Deployment) -> None:
        """Let a deployment's repository have its datastore here."""
        deployment.settings.update(self.server.environment)
        file = deployment.root / "butler.yaml"
        config = Config(str(file))
        config["datastore", "root"] = self.root
        config.dumpToUri(f"file://{file}")

    def hold_lists_of(self, deployment: Deployment) -> None:
        """Let a deployment put its dataset lists here."""
        deployment.settings.update(self.server.environment)
        deployment.settings["OUTPUT_DATASET_LIST_DIRECTORY"] = self.lists
