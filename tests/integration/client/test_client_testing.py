"""The extra ``testing``: the whole write in one process, for pods' unit tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from butler_writer_client import Mode
from butler_writer_client.testing import EventRefusedError, InProcessService
from testbed.worker import CHECKOUT
from tests.support.events import CHAIN, RUN
from tests.support.pods import LocalPod


@pytest.fixture
def service(tmp_path: Path) -> Iterator[InProcessService]:
    with InProcessService(tmp_path / "central") as service:
        yield service


@pytest.mark.parametrize("mode", [*Mode, "staging"])
def test_outputs_can_be_read_from_the_central_repository(
    pod: LocalPod, tmp_path: Path, mode: Mode | Literal["staging"]
) -> None:
    with InProcessService(tmp_path / "central", mode=mode) as service:
        assert service.transfer_outputs(pod.butler, pod.records, pod.outputs) == pod.outputs

        central = service.butler
        for ref in pod.outputs:
            assert central.get(ref) == pod.butler.get(ref)
        assert central.collections.get_info(CHAIN).children == (RUN,)


def test_several_pods_share_the_repository(
    make_pod: Callable[[int], LocalPod], pod: LocalPod, service: InProcessService
) -> None:
    other = make_pod(1)

    for each in (pod, other, pod):
        service.transfer_outputs(each.butler, each.records, each.outputs)

    found = service.butler.query_all_datasets(RUN, find_first=False, limit=None)
    assert sorted(found) == sorted(pod.outputs + other.outputs)


def test_an_event_that_the_service_would_set_aside_is_an_error(
    pod: LocalPod, service: InProcessService
) -> None:
    del pod.records["visit"]

    with pytest.raises(EventRefusedError, match="visit"):
        service.transfer_outputs(pod.butler, pod.records, pod.outputs)


async def test_an_asynchronous_test_can_use_it(pod: LocalPod, service: InProcessService) -> None:
    service.transfer_outputs(pod.butler, pod.records, pod.outputs)

    assert service.butler.get(pod.outputs[0]) == pod.butler.get(pod.outputs[0])


def test_the_example_in_the_guide_works_and_is_short(tmp_path: Path) -> None:
    guide = (CHECKOUT / "docs" / "client.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (example,) = [block for block in blocks if "def test_" in block]
    assert len(example.splitlines()) < 15
    (tmp_path / "test_example.py").write_text(example)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # the example names the plugins that it needs
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_test_run_that_does_not_name_the_plugin_loads_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test():\n"
        "    assert not {'butler_writer_client', 'app', 'agents', 'faust'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_other.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_imports_nothing_of_the_service() -> None:
    looks = (
        "import sys, butler_writer_client, butler_writer_client.testing; "
        "assert not {'faust', 'app', 'agents', 'models'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", looks], check=True)
