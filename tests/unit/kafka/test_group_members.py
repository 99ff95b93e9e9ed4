"""What members of a group tell the brokers."""

from __future__ import annotations

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from app.kafka.group.members import Member, _member

ASSIGNED = ConsumerProtocolMemberAssignment(0, [("t", [1, 0])], b"").encode()


def member(assignment: bytes) -> Member:
    return _member("id", "client", "/10.0.0.1", b"", assignment)


def test_a_consumer_has_the_partitions_that_are_assigned_to_it() -> None:
    assert member(ASSIGNED) == Member("client", "10.0.0.1", None, {"t": [0, 1]})


@pytest.mark.parametrize(
    "assignment",
    [
        b"",
        ASSIGNED[:9],
        b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",  # no list of topics at all
        b'{"connector": "another format"}',
    ],
)
def test_an_assignment_of_another_format_has_no_partitions(assignment: bytes) -> None:
    assert member(assignment).partitions == {}
