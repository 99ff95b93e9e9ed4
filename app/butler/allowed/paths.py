"""Which files of a datastore a dataset may be in."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping

from lsst.daf.butler import DatasetRef

from app.butler.events.parsed import Artifact
from app.butler.private.datastores import FileStore
from models.causes import Cause
from models.errors import NotAllowedError

__all__ = ["AllowedPaths", "follows_template"]

#: What Butler's file templates replace by an underscore.
_REPLACED = str.maketrans(dict.fromkeys(' <>:"\\|?*', "_"))


class AllowedPaths:
    """Refuses paths at which a dataset of an event cannot be.

    Parameters
    ----------
    is_below_run : `bool`
        Whether the path must be below the folder of the dataset's run, or where the file template
        of the repository leads to.
    """

    def __init__(self, *, is_below_run: bool) -> None:
        self._is_below_run = is_below_run

    def check(self, artifacts: Iterable[Artifact]) -> None:
        """Check the paths of artifacts.

        Raises
        ------
        NotAllowedError
            If one of them cannot be there.
        """
        run = folder = ""
        for artifact in artifacts:
            ref = artifact.refs[0]
            if ref.run != run:
                run = ref.run
                folder = f"{run}/"
            for store, path in artifact.recorded_paths.items():
                if path in store.own_paths:
                    raise NotAllowedError(
                        Cause.PATH_NOT_ALLOWED, f"{path!r} is a file of the repository itself"
                    )
                if self._is_below_run and not path.startswith(folder):
                    _check_template(path, store, ref)


def _check_template(path: str, store: FileStore, ref: DatasetRef) -> None:
    if not follows_template(path, store.template(ref), ref):
        raise NotAllowedError(
            Cause.PATH_NOT_ALLOWED,
            f"{path!r} is not below the folder of its run, {ref.run!r}, nor where the file "
            "template of the repository leads to; if the pods use another layout, set "
            "BUTLER_WRITER_PATHS_BELOW_RUN=false, then replay",
        )


def follows_template(path: str, template: str, ref: DatasetRef) -> bool:
    """Tell whether a path may have been made with a file template of Butler.

    Its beginning must be that of the template, up to the first field whose value is not known, and
    it must contain what makes it unique: the run or the dataset's ID.

    Parameters
    ----------
    path : `str`
        The path.
    template : `str`
        The template, such as ``{run:/}/{datasetType}/{visit.name}_{detector}``.
    ref : `lsst.daf.butler.DatasetRef`
        The dataset; its data ID need not be expanded.
    """
    run = ref.run.translate(_REPLACED)
    unique = (run, run.replace("/", "_"), str(ref.id))
    return path.startswith(_beginning(template, ref)) and any(each in path for each in unique)


def _beginning(template: str, ref: DatasetRef) -> str:
    known = {
        **{name: ref.dataId[name] for name in ref.dataId.dimensions.required},
        "run": ref.run,
        "datasetType": ref.datasetType.name,
        "id": ref.id,
    }
    return "".join(_known_pieces(template, known))


def _known_pieces(template: str, known: Mapping[str, object]) -> Iterator[str]:
    for literal, field, form, _ in string.Formatter().parse(template):
        if field is None:
            yield literal
        elif field not in known or (form or "").strip("/?"):
            return
        else:
            value = str(known[field]).translate(_REPLACED)
            yield literal + (value if "/" in (form or "") else value.replace("/", "_"))
