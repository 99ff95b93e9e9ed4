"""A private Prometheus server in a temporary folder, which scrapes workers."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from .ports import free_port
from .process import ChildProcess
from .prometheus_programs import find_prometheus
from .server import Server

__all__ = ["Prometheus"]

_START_TIMEOUT = 30.0
_REQUEST_TIMEOUT = 10.0


class Prometheus(Server):
    """A Prometheus server that scrapes every second.

    Parameters
    ----------
    targets
        ``host:port`` of what it scrapes.
    rules
        The content of a rule file.

    Raises
    ------
    ServerUnavailableError
        The program cannot be had on this machine.
    """

    def __init__(self, targets: Sequence[str], rules: Mapping[str, Any]) -> None:
        self._programs = find_prometheus()
        self.port = free_port()
        super().__init__("prometheus")
        (self._folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
        configuration = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": "butler-writer", "static_configs": [{"targets": list(targets)}]}
            ],
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = ChildProcess(
            [
                self._programs / "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
            ],
            log=self.log,
            cwd=self._folder,
        )
        self._wait_for_answer(self._is_ready, _START_TIMEOUT)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query, each with ``metric`` and ``value``.

        Raises
        ------
        urllib.error.HTTPError
            The expression is wrong.
        """
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {
            alert["labels"]["alertname"]
            for alert in self._get("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/-/ready", timeout=_REQUEST_TIMEOUT
            ) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found
