"""What layers leave in a folder."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.tars import Member
from stoker_worker.fetch.sources.trees import Kept, Tree

_PARTS = st.sampled_from(["a", "b", "models", ".wh.a", ".wh..wh..opq", "..", ".", "", ".wh."])
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)


def add(tree: Tree, layer: int, *names: str) -> None:
    for index, name in enumerate(names):
        folder = name.endswith("/")
        tree.add(Member(name.rstrip("/") or name, 1, 0, folder=folder), Kept(layer, index, 1, 0))


def paths(*layers: tuple[str, ...], image: bool = True) -> list[str]:
    tree = Tree("it", image=image)
    for number, names in enumerate(layers):
        add(tree, number, *names)
    return sorted(tree.files())


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([("a", "b")], ["a", "b"]),
        ([("a", "b"), (".wh.a",)], ["b"]),
        ([("d/a", "d/b", "x"), ("d/.wh.a",)], ["d/b", "x"]),
        ([("d/a", "d/e/f", "x"), (".wh.d",)], ["x"]),
        ([("d/a", "x"), ("d/.wh..wh..opq", "d/b")], ["d/b", "x"]),
        ([("d/a", "x"), ("d/b", "d/.wh..wh..opq")], ["d/b", "x"]),  # its own layer's stay
        ([("a", "b"), (".wh..wh..opq",), ("c",)], ["c"]),
        ([("d", "x"), ("d/a",)], ["d/a", "x"]),  # a folder where a file was
        ([("d/a", "x"), ("d",)], ["d", "x"]),  # a file where a folder was
        ([("d", "x"), ("d/",)], ["x"]),
        ([("dd/a", "d/a"), (".wh.d",), ("x",)], ["dd/a", "x"]),
        # Of an image, only /models; folders that hold everything go.
        ([("etc/passwd", "models/a", "models/b/c")], ["a", "b/c"]),
        ([("etc/passwd", "models/m/a", "models/m/b")], ["a", "b"]),
        ([("m/n/a", "m/n/b/c")], ["a", "b/c"]),
        ([("m/a",)], ["a"]),
    ],
)
def test_layers_lie_over_one_another(layers: list[tuple[str, ...]], left: list[str]) -> None:
    assert paths(*layers) == left


def test_an_archive_that_is_no_image_has_no_whiteouts_and_no_folder_of_models() -> None:
    assert paths(("a", ".wh.a", "models/b"), image=False) == [".wh.a", "a", "models/b"]


def test_links_count_where_the_model_is() -> None:
    for name, refused in (("bin", False), ("models/link", True)):
        tree = Tree("it", image=True)
        tree.add(Member(name, 0, 0, odd="a link"), Kept(0, 0, 0, 0, odd="a link"))
        add(tree, 0, "models/config.json")
        if refused:
            with pytest.raises(SourceError, match="models/link is a link"):
                tree.files()
        else:
            assert list(tree.files()) == ["config.json"]


@pytest.mark.parametrize("name", ["../x", "a/../b", "/etc/x", "a/..", "..", "a\0b"])
def test_a_name_that_leaves_is_refused_wherever_it_is(name: str) -> None:
    with pytest.raises(SourceError) as error:
        paths((name, "models/a"))
    assert error.value.reason == FetchReason.ARCHIVE_UNSAFE


@given(layers=st.lists(st.lists(_NAMES, max_size=5), max_size=4), image=st.booleans())
def test_whatever_layers_say_no_file_is_in_anothers_way(
    layers: list[list[str]], *, image: bool
) -> None:
    tree = Tree("it", image=image)
    for number, names in enumerate(layers):
        with suppress(SourceError):  # a member that is refused is not there
            add(tree, number, *names)
    found = set(tree.files())
    for path in found:
        assert ".." not in path.split("/")
        parts = path.split("/")
        assert not found & {"/".join(parts[:n]) for n in range(1, len(parts))}
