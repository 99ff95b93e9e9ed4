"""Datasets and their ids, made and shown in less time than with public methods."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType

__all__ = ["dataset_ref", "id_number", "id_text"]

#: Digits of an id, without hyphens.
_DIGITS = 32


_slots: Any = DatasetRef
_set_type, _set_data_id = _slots.datasetType.__set__, _slots.dataId.__set__
_set_run, _set_id = _slots.run.__set__, _slots._id.__set__
_set_records = _slots._datastore_records.__set__


def dataset_ref(kind: DatasetType, data_id: DataCoordinate, run: str, number: int) -> DatasetRef:
    """Return a dataset, in a tenth of the time that `DatasetRef` takes.

    Its own method asks before it sets an attribute whether that is set already.

    Parameters
    ----------
    kind : `lsst.daf.butler.DatasetType`
        Its dataset type.
    data_id : `lsst.daf.butler.DataCoordinate`
        Its data ID, which has the dimensions of the dataset type.
    run : `str`
        Its run.
    number : `int`
        Its id, as `id_number` returns it.
    """
    ref = DatasetRef.__new__(DatasetRef)
    _set_type(ref, kind)
    _set_data_id(ref, data_id)
    _set_run(ref, run)
    _set_id(ref, number)
    _set_records(ref, None)
    return ref


def id_number(text: str) -> int:
    """Return the number of a `~uuid.UUID`, from its text.

    Raises
    ------
    ValueError
        If the text is not that of a UUID.
    """
    digits = text.replace("-", "")
    # As `UUID` itself does, but for other notations, such as one with braces.
    return int(digits, 16) if len(digits) == _DIGITS and digits.isalnum() else UUID(text).int


def id_text(ref: DatasetRef) -> str:
    """Return the id of a dataset as text, as `str` of its UUID, in a quarter of the time.

    A ref has its id as a number, and makes a UUID of it at each access.
    """
    digits = ref._id.to_bytes(_DIGITS // 2).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
