"""Paths and staging roots of artifacts: which are recorded, and which are refused."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from lsst.daf.butler import Location
from lsst.resources import ResourcePath

from app.butler.paths import _resolved, is_plain, path_in_datastore, staging_root, uri_inside
from models.errors import InvalidEventError

FILE = ResourcePath("file:///repo/main/", forceDirectory=True)
S3 = ResourcePath("s3://bucket/main/", forceDirectory=True)
SPACE = ResourcePath("/repo/my main/", forceDirectory=True)
ROOTS = pytest.mark.parametrize("root", [FILE, S3, SPACE], ids=str)

#: The paths that are recorded as they are.
PLAIN = re.compile(r"(?!\.{1,2}(?:/|$))[\w.+=,@-]+(?:/(?!\.{1,2}(?:/|$))[\w.+=,@-]+)*", re.ASCII)

#: Parts of malicious paths.
PIECES = ["/", "..", ".", "a", "b.fits", " ", "%", "%2e", "%2E%2e", "%2F", "%25", "%20", "%00"]
PIECES += ["#", "%23", "?", "$HOME", "%24HOME", "~", "~root", "$A_DIR/", ":", "file:", "s3://"]
PIECES += ["/repo/main/", "/repo/my main/", "s3://bucket/main/", "\\", "\0", "\n", "é"]


@ROOTS
@given(st.from_regex(PLAIN, fullmatch=True))
def test_a_path_that_the_expression_matches_resolves_to_itself(
    root: ResourcePath, path: str
) -> None:
    assert _resolved(path, root) == path


@given(
    st.from_regex(PLAIN, fullmatch=True)
    | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
    | st.text(max_size=4)
)
def test_a_path_is_plain_if_the_expression_matches_it(path: str) -> None:
    assert is_plain(path) is bool(PLAIN.fullmatch(path))


@ROOTS
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_butler_reads_the_file_that_was_checked(root: ResourcePath, path: str) -> None:
    try:
        recorded = path_in_datastore(path, root)
    except InvalidEventError:
        return
    read = Location(root, recorded).uri  # raises outside the root
    assert read == root.join(recorded, forceDirectory=False)
    assert read.relative_to(root) == recorded
    assert "\0" not in recorded


@ROOTS
@given(
    st.from_regex(PLAIN, fullmatch=True)
    | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
)
def test_the_uri_of_a_file_that_stays_is_that_of_the_file(root: ResourcePath, path: str) -> None:
    try:
        recorded = path_in_datastore(path, root)
    except InvalidEventError:
        return
    expected = str(root.join(recorded, forceDirectory=False))
    assert uri_inside(path, root, str(root)) == expected


@ROOTS
@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("u/run/a.fits", "u/run/a.fits"),
        ("u/run/a b.fits", "u/run/a b.fits"),
        ("u/run/a%20b.fits", "u/run/a b.fits"),
        ("u/run/100%.fits", "u/run/100%.fits"),
        ("u/run/a:b?c;d.fits", "u/run/a:b?c;d.fits"),
        ("u/run/é.fits", "u/run/é.fits"),
        ("u/run/../a.fits", "u/a.fits"),
        ("./a.fits", "a.fits"),
    ],
)
def test_a_relative_path_is_recorded_unquoted(root: ResourcePath, path: str, recorded: str) -> None:
    assert path_in_datastore(path, root) == recorded


@pytest.mark.parametrize(
    ("root", "path", "recorded"),
    [
        (FILE, "/repo/main/u/a.fits", "u/a.fits"),
        (FILE, "file:///repo/main/u/a.fits", "u/a.fits"),
        (FILE, "file:///repo/main/u/a%20b.fits", "u/a b.fits"),
        (FILE, "/repo/main/u/../a.fits", "a.fits"),
        (SPACE, "/repo/my main/a.fits", "a.fits"),
        (SPACE, "file:///repo/my%20main/a.fits", "a.fits"),
        (S3, "s3://bucket/main/u/a.fits", "u/a.fits"),
        (S3, "s3://bucket/main/u/a%20b.fits", "u/a b.fits"),
    ],
)
def test_an_absolute_path_inside_the_root_is_recorded_relative(
    root: ResourcePath, path: str, recorded: str
) -> None:
    assert path_in_datastore(path, root) == recorded


@ROOTS
@pytest.mark.parametrize(
    "path",
    [
        "../a.fits",
        "u/../../a.fits",
        "/etc/passwd",
        "/repo/main2/a.fits",
        "/repo/main/../a.fits",
        "file:///etc/passwd",
        "s3://bucket/main2/a.fits",
        "s3://other/main/a.fits",
        "https://bucket/main/a.fits",
        "resource://app/a.fits",
        "~root/a.fits",
        "%2e%2e/a.fits",
        "u/%2E%2E/..%2F../a.fits",
        "%252e%252e/a.fits",
        "%2Fetc/passwd",
    ],
)
def test_a_path_outside_the_root_is_refused(root: ResourcePath, path: str) -> None:
    with pytest.raises(InvalidEventError, match="outside the datastore root") as error:
        path_in_datastore(path, root)
    assert repr(path) in str(error.value)


@ROOTS
@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "u/..",
        "u/run/",
        "/",
        "a.fits#hdu1",
        "a%23hdu1",
        "a\0.fits",
        "a%00.fits",
        "$HOME/a.fits",
        "%24NEVER_SET/a.fits",
        "a%2520b.fits",
        "gopher://bucket/main/a.fits",
    ],
)
def test_a_path_that_does_not_name_a_file_is_refused(root: ResourcePath, path: str) -> None:
    with pytest.raises(InvalidEventError, match="path") as error:
        path_in_datastore(path, root)
    assert repr(path) in str(error.value)


STAGING = ResourcePath("file:///staging/prompt/", forceDirectory=True)
BUCKET = ResourcePath("s3://writer@bucket/staging/", forceDirectory=True)


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("file:///staging/prompt", "file:///staging/prompt/"),
        ("/staging/prompt/", "file:///staging/prompt/"),
        ("file://localhost/staging/prompt/pod-1", "file:///staging/prompt/pod-1/"),
        ("s3://bucket/staging", "s3://writer@bucket/staging/"),
        # An event does not choose whose credentials are used.
        ("s3://another@bucket/staging/a/b/", "s3://writer@bucket/staging/a/b/"),
    ],
)
def test_an_allowed_staging_root_or_a_folder_inside_one_is_accepted(uri: str, root: str) -> None:
    assert str(staging_root(uri, [STAGING, BUCKET])) == root


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "staging/prompt",
        "file:///staging/prompt-2",
        "file:///staging/prompt/../other",
        "file:///staging/prompt/%2e%2e/other",
        "file:///staging",
        "s3://other/staging/",
        "s3://bucket/staging/../other/",
        "s3://bucket/staging/s3://other/",
        "s3://bucket/staging/%2e%2e/other/",
        "s3://bucket/",
        "https://bucket/staging/",
        "gopher://bucket/staging/",
        "s3://bucket/staging/$HOME",
        "s3://bucket/staging/#x",
        17,
    ],
)
def test_any_other_staging_root_is_refused(uri: str) -> None:
    with pytest.raises(InvalidEventError, match="staging"):
        staging_root(uri, [STAGING, BUCKET])


@pytest.mark.parametrize("allowed", [[], [STAGING, BUCKET]], ids=["none", "some"])
@pytest.mark.parametrize("uri", ["a/" * 100_000, "file:///" + "a/../" * 40_000, "#" * 200_000])
def test_a_long_staging_root_is_refused_before_anything_is_done_with_it(
    uri: str, allowed: list[ResourcePath]
) -> None:
    started = time.process_time()
    with pytest.raises(InvalidEventError, match=r"has 20000\d characters, more than") as error:
        staging_root(uri, allowed)
    assert len(str(error.value)) < 1000
    assert time.process_time() - started < 0.05


def test_no_file_outside_of_the_roots_is_looked_at_because_an_event_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look at a folder may mount something, or wait for a server that is away."""
    (tmp_path / "link").symlink_to("/net/elsewhere")
    named = ["/net/elsewhere/a", f"{tmp_path}/b", f"{tmp_path}/link/c", f"{tmp_path}/staging/d"]
    roots = [ResourcePath(f"{tmp_path}/staging/", forceDirectory=True)]
    looked_at: list[str] = []

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any, *given: Any, **more: Any) -> Any:
            looked_at.append(str(path))
            return call(path, *given, **more)

        return look

    for name in ("stat", "lstat", "readlink", "open", "scandir"):
        monkeypatch.setattr(os, name, noted(getattr(os, name)))
    for uri in named:
        with contextlib.suppress(InvalidEventError):
            staging_root(uri, roots)
    monkeypatch.undo()
    assert looked_at
    assert [path for path in looked_at if not f"{tmp_path}/staging/".startswith(path)] == []


def test_without_a_setting_no_staging_root_is_allowed() -> None:
    with pytest.raises(InvalidEventError, match="BUTLER_WRITER_STAGING_ROOTS"):
        staging_root("file:///staging/", [])
