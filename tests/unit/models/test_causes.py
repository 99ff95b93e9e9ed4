"""Causes of dead letters: names that operators have used stay usable."""

from __future__ import annotations

import pytest

from models.causes import Cause


@pytest.mark.parametrize("cause", Cause)
def test_a_cause_is_found_by_its_value(cause: Cause) -> None:
    assert Cause.named(cause.value) is cause


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("CollectionTypeError", Cause.WRONG_COLLECTION),
        ("ConflictingDefinitionError", Cause.CONFLICT),
        ("DataError", Cause.VALUE_REFUSED),
        ("FileNotFoundError", Cause.MISSING_FILE),
        ("IntegrityError", Cause.CONSTRAINT),
        ("InvalidEventError", Cause.INVALID_EVENT),
        ("LookupError", Cause.MISSING_DIMENSION_RECORD),
        ("MissingCollectionError", Cause.REFUSED_BY_BUTLER),
        ("MissingDatasetTypeError", Cause.UNKNOWN_DATASET_TYPE),
        ("OverflowError", Cause.VALUE_REFUSED),
    ],
)
def test_a_cause_is_found_by_its_former_name(name: str, cause: Cause) -> None:
    assert Cause.named(name) is cause


@pytest.mark.parametrize("name", ["", "MISSING_FILE", "ZeroDivisionError"])
def test_any_other_name_is_no_cause(name: str) -> None:
    assert Cause.named(name) is None
