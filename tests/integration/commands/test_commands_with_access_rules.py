"""Every command, with exactly the topics and rules of deploy/strimzi, and the role of roles.sql.

Or with those of a trial: the deployed user, with the one word of trial.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker, faust_command
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, RUN, Night, dataset_ids, stored_ids
from tests.support.least_rights import DROP_ROLE, ROLES, use_role
from tests.support.strimzi import StrimziDeployment, login, make, manifests, trial

pytestmark = [pytest.mark.kafka, pytest.mark.postgresql]


@dataclass
class Commanded(StrimziDeployment):
    """A deployment with the user who gives the commands."""

    operator: str = ""


@pytest.fixture(params=["manifests", "trial"])
def deployment(
    request: pytest.FixtureRequest,
    secure_kafka: ApacheKafka,
    postgresql: PostgreSQL,
    topic_name: str,
    tmp_path: Path,
) -> Iterator[Commanded]:
    given = manifests("topics.yaml", "users.yaml", stem=topic_name)
    given[0]["spec"]["partitions"] = 2
    settings = {"BUTLER_WRITER_MISSING_FILE_WAIT": "0.1"}
    operator = f"{topic_name}-operators"
    if request.param == "trial":
        given = [*given[:2], trial(topic_name)]
        settings["BUTLER_WRITER_KAFKA_DECLARE_TOPICS"] = "true"
        operator = topic_name
    found = Commanded(
        secure_kafka,
        topic_name,
        tmp_path,
        database=postgresql.create_database("commanded"),
        settings=settings,
        given=given,
        operator=operator,
    )
    with postgresql.connect("commanded") as connection:
        # By default, everybody has some rights.
        connection.execute("REVOKE ALL ON DATABASE commanded FROM PUBLIC")
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute(ROLES.encode())
    use_role(found.root)
    yield found
    found.butler.close()
    with postgresql.connect("commanded") as connection:
        connection.execute(DROP_ROLE.encode())
    postgresql.drop_database("commanded")


def document(
    deployment: Commanded, *arguments: str, exit_code: int = 0, user: str | None = None
) -> Any:
    """Return the document that a command prints; by default, the operators' user gives it."""
    environment = {**deployment.environment, **login(user or deployment.operator)}
    done = faust_command(environment, "--json", *arguments)
    assert done.returncode == exit_code, f"{arguments}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def chain_events(deployment: Deployment) -> dict[str, int]:
    """Return how many events and datasets the changelog has last for the chain."""
    messages = deployment.cluster.consume(f"{deployment.group}-chains-changelog")
    if not messages:
        return {}
    (run,) = json.loads(messages[-1].value or b"")["runs"]
    return {name: run[name] for name in ("events", "datasets")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_does_its_work(deployment: Commanded) -> None:
    """One test, since its steps build on each other; they are those of a restored database."""
    night = Night(deployment.root)
    good = [night.event(1, detector) for detector in range(4)]
    bad = night.event(2)
    bad["datasets"][0]["path"] += ".lost"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*good, bad)
        deployment.wait_done()
        wait_until(lambda: chain_events(deployment) == {"events": 4, "datasets": 40}, 30, "chains")
        commands_beside_a_worker(deployment, worker, good)
        worker.term()
        assert worker.wait() == 0
    commands_without_a_worker(deployment, night)
    if deployment.operator != deployment.topic:
        what_is_missing_is_named(deployment)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.wait_done()
        expected = dataset_ids(*good, night.event(3))
        assert set(stored_ids(deployment.fresh_butler())) == expected
        wait_until(lambda: chain_events(deployment) == {"events": 9, "datasets": 90}, 30, "chains")
        (resynced,) = document(deployment, "chains", "resync")
        assert (resynced["chain"], resynced["datasets"]) == (CHAIN, 50)
        wait_until(lambda: chain_events(deployment) == {"events": 9, "datasets": 50}, 30, "resync")


def commands_beside_a_worker(
    deployment: Commanded, worker: Worker, good: list[dict[str, Any]]
) -> None:
    checked = document(deployment, "check", user=deployment.topic)
    assert checked["summary"]["ok"] == len(checked["items"])

    status = document(deployment, "status")
    (member,) = status["workers"]
    assert (member["ready"], member["partitions"]) == (True, [0, 1])
    assert member["pages"].endswith(f":{worker.port}")
    assert {each["owner"] for each in status["partitions"]} == {member["pages"]}
    assert (status["lag"], status["dead_letters"]) == (0, {"missing_file": 1})
    assert (status["group"]["state"], status["findings"]) == ("Stable", [])

    assert document(deployment, "audit")["summary"]["dead-letter"] == 1
    (listed,) = document(deployment, "dead-letters", "list")
    assert document(deployment, "dead-letters", "show", listed["name"])
    replayed = document(deployment, "dead-letters", "replay", listed["name"])
    assert replayed["replayed"] == [listed["name"]]
    folder = good[0]["datasets"][0]["path"].split("/")[0]
    assert document(deployment, "leftovers", "--older-than", "1d", "--folder", folder)
    (chain,) = document(deployment, "chains", "list")
    assert (chain["chain"], chain["runs"], chain["datasets"]) == (CHAIN, 1, 40)
    (run,) = document(deployment, "chains", "show", CHAIN)
    assert (run["run"], run["events"]) == (RUN, 4)
    rebuilt = document(deployment, "products", "rebuild", "--run", RUN)
    assert (rebuilt["done"], rebuilt["summary"]["datasets"]) == (True, 40)
    refused = document(deployment, "rewind", "--offset", "0", exit_code=2)
    assert f"the group {deployment.group} has members (" in refused["error"]
    assert "stop all workers first" in refused["error"]
    deployment.wait_done()


def commands_without_a_worker(deployment: Commanded, night: Night) -> None:
    deployment.send(night.event(3), partition=0)
    status = document(deployment, "status", exit_code=1)
    assert [each["lag"] for each in status["partitions"]] == [1, 0]
    assert status["partitions"][0]["oldest_seconds"] > 0
    assert status["findings"][0].startswith(f"no worker is in the group {deployment.group}; start")

    (first,) = [each["committed"] for each in status["partitions"] if each["partition"] == 0]
    skipped = document(deployment, "skip", f"0-{first}")
    assert skipped == {"skipped": f"0-{first}", "offset": first + 1}

    butler = deployment.butler
    lost = butler.get_many_datasets(dataset_ids(night.event(1, 1)))
    butler.pruneDatasets(lost, disassociate=True, unstore=True, purge=True)
    night.event(1, 1)  # writes the files again
    before = deployment.committed()
    planned = document(deployment, "rewind", "--offset", "0", "--dry-run")
    assert (planned["done"], planned["events"], planned["findings"]["missing"]) == (False, 7, 1)
    assert deployment.committed() == before
    done = document(deployment, "rewind", "--to", "2020-01-01T00:00:00")
    assert (done["done"], done["events"], done["findings"]["missing"]) == (True, 7, 1)
    assert deployment.committed() == 0
    again = document(deployment, "rewind", "--offset", "0", exit_code=2)
    assert again["error"].startswith("nothing to set back")


def what_is_missing_is_named(deployment: Commanded) -> None:
    """One rule and one topic; test_checks_of_kafka.py has all of them."""
    kafka, user, letters = deployment.cluster, deployment.topic, deployment.dead_letter_topic
    assert isinstance(kafka, ApacheKafka)
    rule = (AclOperation.WRITE, ResourceType.TOPIC, deployment.topic)
    kafka.forbid(user, *rule)
    kafka.delete_topic(letters)
    checked = document(deployment, "check", user=user, exit_code=1)
    make(kafka, [each for each in deployment.given if each["metadata"]["name"] == letters])
    kafka.allow(user, *rule)
    wrong = {item["name"] for item in checked["items"] if item["verdict"] == "wrong"}
    assert wrong == {f"WRITE on topic {deployment.topic}", f"topic {letters}"}
