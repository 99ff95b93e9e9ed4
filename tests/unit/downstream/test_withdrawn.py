"""What was withdrawn is left out of every message, with all datasets of its artifacts."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from app.downstream.kept_state import Unruled, WithdrawnDataset, WithdrawnRun, key_of
from app.downstream.waiting import Due
from app.downstream.withdrawn import Withdrawn

ONE, TWO, THREE = (UUID(int=n, version=4) for n in (1, 2, 3))


def file(path: str, *ids: UUID, run: str = "r", name: str = "image") -> Any:
    ref = {"dataset_type_name": name, "run": run, "data_id": {}}
    return {"refs": {str(each): ref for each in ids}, "path": path, "formatter": "f"}


def left(withdrawn: Withdrawn, *files: Any) -> tuple[list[str], Counter[str]]:
    others, left_out = withdrawn.leave_out(files)
    return [each["path"] for each in others], left_out


def test_a_withdrawn_dataset_is_left_out_with_all_datasets_of_its_artifact() -> None:
    files = file("a", ONE, TWO), file("b", THREE, name="catalog")
    assert left(Withdrawn(), *files) == (["a", "b"], Counter())
    assert left(Withdrawn({TWO}), *files) == (["b"], Counter(image=2))
    assert left(Withdrawn({ONE, THREE}), *files) == ([], Counter(image=2, catalog=1))


def test_an_artifact_that_is_divided_is_left_out_as_a_whole() -> None:
    files = file("a", ONE), file("b", TWO), file("a", THREE)
    assert left(Withdrawn({THREE}), *files) == (["b"], Counter(image=2))


def test_all_datasets_of_a_withdrawn_run_are_left_out() -> None:
    files = file("a", ONE), file("b", TWO, run="other")
    assert left(Withdrawn(runs={"other"}), *files) == (["a"], Counter(image=1))


def test_an_id_in_another_form_is_the_same_and_one_that_is_none_is_not_withdrawn() -> None:
    odd = file("a", ONE)
    odd["refs"] = {str(ONE).upper(): odd["refs"][str(ONE)]}
    none = file("b")
    none["refs"] = {"none": {"dataset_type_name": "image", "run": "r", "data_id": {}}}
    assert left(Withdrawn({ONE}), odd, none) == (["b"], Counter(image=1))


def test_the_keys_of_the_table_say_what_they_are_about() -> None:
    kinds = Due(2**63 - 1, 3, 4), Unruled("a/b"), WithdrawnDataset(ONE), WithdrawnRun("a/run/b")
    for each in kinds:
        assert key_of(f'"{each.key}"'.encode()) == each
