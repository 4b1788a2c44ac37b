"""Which names a file of a source may have."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.paths import MAX_FILES, checked, shown, wrong_with

_NASTY = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "~", "-", "\\", "\0", "\n", "/", "é", "x" * 256]),
    max_size=6,
).map("/".join)


@pytest.mark.parametrize(
    "path", ["config.json", "a/b/c.safetensors", "...", "a..b", ".gitattributes", "ü/ö.json"]
)
def test_a_name_is_fine(path: str) -> None:
    assert not wrong_with(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "\ud800",
        "x" * 256,
        "/".join(["abcdefgh"] * 200),
        ".stoker.json",
        ".stoker.json/x",
    ],
)
def test_a_name_is_refused(path: str) -> None:
    assert wrong_with(path)
    with pytest.raises(SourceError) as error:
        checked("r", [RemoteFile(path, 1)], "here")
    assert error.value.reason == FetchReason.SOURCE_INVALID
    assert error.value.message.isprintable()


@given(st.one_of(st.text(max_size=80), _NASTY))
def test_a_name_that_is_fine_stays_in_its_folder(path: str) -> None:
    if wrong_with(path):
        return
    folder = Path("/folder")
    joined = folder / path
    assert joined.is_relative_to(folder)
    assert ".." not in joined.parts
    assert str(joined) == f"/folder/{path}"  # nothing was normalized, so no two names become one


@given(st.text(max_size=400))
def test_what_is_shown_fits_into_a_line(path: str) -> None:
    assert shown(path).isascii()
    assert shown(path).isprintable()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([RemoteFile("a", 1), RemoteFile("a", 1)], "twice"),
        ([RemoteFile("a", 1), RemoteFile("a/b", 1)], "a file and a folder"),
        ([RemoteFile("a", -1)], "no size"),
        ([], "no files"),
    ],
)
def test_a_listing_is_refused(files: list[RemoteFile], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        checked("r", files, "here")


def test_a_listing_ends_somewhere() -> None:
    endless = (RemoteFile(f"f{n}", 1) for n in range(10**9))
    with pytest.raises(SourceError, match=f"more than {MAX_FILES}") as error:
        checked("r", endless, "here")
    assert error.value.reason == FetchReason.SOURCE_TOO_LARGE


def test_a_listing_keeps_the_order_of_its_source() -> None:
    files = [RemoteFile("b", 1), RemoteFile("a/c", 2)]
    assert [file.path for file in checked("r", files, "here").files] == ["b", "a/c"]
