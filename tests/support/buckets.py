"""Buckets for a deployment's artifacts and dataset lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Config

from testbed.s3 import S3Server
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream

__all__ = ["Bucket"]


@dataclass
class Bucket:
    """A bucket that holds a deployment's artifacts and dataset lists.

    Attributes
    ----------
    server : `S3Server`
        The service.
    name : `str`
        Its name.
    folder : `str`, optional
        What the keys of artifacts begin with.
    """

    server: S3Server
    name: str
    folder: str = "butler"

    @property
    def root(self) -> str:
        """Root of the datastore."""
        return f"s3://{self.name}/{self.folder}/"

    @property
    def lists(self) -> str:
        """Directory of the dataset lists."""
        return f"s3://{self.name}/lists/"

    def put(self, key: str, content: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=key, Body=content)

    def keys(self, prefix: str) -> list[str]:
        found = self.server.client().list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", ())]

    def upload(
        self, event: dict[str, Any], *, but: int | None = None, prefix: str = "butler/"
    ) -> None:
        """Upload an event's artifacts, optionally except one."""
        for n, dataset in enumerate(event["datasets"]):
            if n != but:
                (ref,) = dataset["refs"].values()
                self.put(f"{prefix}{dataset['path']}", json.dumps(ref["data_id"]).encode())

    def hold_artifacts_of(self, deployment: Deployment | Downstream) -> None:
        """Configure the repository of a deployment or target to have its datastore here."""
        deployment.settings.update(self.server.environment)
        file = deployment.root / "butler.yaml"
        config = Config(str(file))
        config["datastore", "root"] = self.root
        config.dumpToUri(f"file://{file}")

    def hold_lists_of(self, deployment: Deployment) -> None:
        """Configure a deployment to write its dataset lists to this bucket."""
        deployment.settings.update(self.server.environment)
        deployment.settings["OUTPUT_DATASET_LIST_DIRECTORY"] = self.lists
