"""A manifest says what must be there; it is not believed without a look at every word."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.manifest import (
    Manifest,
    ManifestError,
    ManifestFile,
    clash_among,
    full_check,
    path_fault,
    quick_check,
    read_manifest,
)
from tests.support.foldersource import sha256

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12)
paths = st.lists(names, min_size=1, max_size=3).map("/".join).filter(lambda p: not path_fault(p))
entries = st.builds(
    ManifestFile,
    paths,
    st.integers(0, 1 << 50),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.integers(-(1 << 40), 1 << 60),
    st.integers(-(1 << 40), 1 << 60),
)
manifests = st.builds(
    Manifest,
    st.text(max_size=40),
    st.text(max_size=40),
    st.text(max_size=40),
    st.booleans(),
    st.lists(entries, min_size=1, max_size=5)
    .filter(lambda files: not clash_among([file.path for file in files]))
    .map(tuple),
)


@given(manifests)
def test_what_is_written_is_read_back(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.to_json()) == manifest


@given(manifests, st.data())
def test_no_cut_of_the_text_is_taken_for_a_manifest(
    manifest: Manifest, data: st.DataObject
) -> None:
    text = manifest.to_json().rstrip()
    with pytest.raises(ManifestError):
        Manifest.parse(text[: data.draw(st.integers(0, len(text) - 1))])


@given(manifests, st.sampled_from(["path", "size", "sha256"]), entries)
def test_another_file_does_not_have_the_digest(
    manifest: Manifest, name: str, other: ManifestFile
) -> None:
    data = json.loads(manifest.to_json())
    if data["files"][0][name] == getattr(other, name):
        return
    data["files"][0][name] = getattr(other, name)
    with pytest.raises(ManifestError):
        Manifest.parse(json.dumps(data))


@given(manifests, st.text())
def test_nothing_that_is_no_manifest_raises_anything_else(manifest: Manifest, text: str) -> None:
    data = json.loads(manifest.to_json())
    for key in data:
        with pytest.raises(ManifestError):
            Manifest.parse(json.dumps({**data, key: {"nested": text}}))
    for key in data["files"][0]:
        lie = [{**data["files"][0], key: [text]}]
        with pytest.raises(ManifestError):
            Manifest.parse(json.dumps({**data, "files": lie}))


def _manifest(**entry: Any) -> str:
    file = {"path": "a", "size": 1, "sha256": "0" * 64, "mtime_ns": 1, "ctime_ns": 1, **entry}
    good = Manifest("hf://a/b", "r", "ns/c", False, ())
    return json.dumps({"version": 1, **json.loads(good.to_json()), "files": [file]})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "../a"}, "leads out"),
        ({"path": "a/../../b"}, "leads out"),
        ({"path": "/etc/passwd"}, "absolute"),
        ({"path": "a//b"}, "empty name"),
        ({"path": "a/"}, "empty name"),
        ({"path": ""}, "no path"),
        ({"path": None}, "no path"),
        ({"path": "./a"}, "begins with a dot"),
        ({"path": ".stoker.json"}, "begins with a dot"),
        ({"path": "a\\b"}, "backslash"),
        ({"path": "a\x00b"}, "does not print"),
        ({"path": "a\nb"}, "does not print"),
        ({"path": "\ud800"}, "UTF-8"),
        ({"path": "x" * 250}, "longer than 240"),
        ({"path": "x/" * 600 + "x"}, "longer than 1000"),
        ({"size": -1}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": True}, "size"),
        ({"size": 1 << 63}, "size"),
        ({"size": "1"}, "size"),
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"mtime_ns": None}, "mtime_ns"),
        ({}, "digest"),
    ],
)
def test_a_lie_is_refused_by_name(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        Manifest.parse(_manifest(**entry))


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["a", "a"], "twice"),
        (["a/b", "a"], "as a file and as a folder"),
        (["a/b/c", "a/b"], "as a file and as a folder"),
        (["a/b", "a/c", "b"], ""),
    ],
)
def test_paths_that_clash(paths: list[str], said: str) -> None:
    clash = clash_among(paths)
    assert said in clash
    assert bool(said) == bool(clash)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"version": 2}', "[" * 100_000, "\ufffd"]
)
def test_text_that_is_no_manifest(text: str) -> None:
    with pytest.raises(ManifestError):
        Manifest.parse(text)


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, Manifest]:
    contents = {
        "config.json": b"{}",
        "model.safetensors": b"w" * 5000,
        "1_Pooling/config.json": b"",
    }
    files = []
    for path, data in contents.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
        entry = ManifestFile(path, len(data), sha256(data))
        files.append(entry.of((tmp_path / path).stat()))
    manifest = Manifest("hf://a/b", "r", "ns/c", False, tuple(files))
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    return tmp_path, manifest


def test_an_untouched_folder_has_no_suspects(model: tuple[Path, Manifest]) -> None:
    folder, manifest = model
    assert read_manifest(folder) == manifest
    assert quick_check(folder, manifest) == []
    assert [each.fault for each in full_check(folder, manifest.files)] == ["", "", ""]


def test_every_change_is_a_suspect(model: tuple[Path, Manifest]) -> None:
    folder, manifest = model
    weights = folder / "model.safetensors"
    state = weights.stat()
    with weights.open("r+b") as file:
        file.write(b"x")
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))  # as somebody who hides it would
    (folder / "config.json").write_bytes(b"{} ")
    (folder / "1_Pooling/config.json").unlink()
    (folder / "other.safetensors").write_bytes(b"")
    found = {each.path: (each.fault, each.certain, each.extra) for each in quick_check(*model)}
    assert found == {
        "model.safetensors": ("was touched since it was hashed", False, False),
        "config.json": ("has 3 bytes instead of 2", True, False),
        "1_Pooling/config.json": ("is missing", True, False),
        "other.safetensors": ("is not in the manifest", True, True),
    }
    faults = {each.file.path: each.fault for each in full_check(folder, manifest.files)}
    assert "has sha256" in faults["model.safetensors"]
    assert "instead of 2" in faults["config.json"]
    assert "cannot be opened" in faults["1_Pooling/config.json"]


def test_a_touched_file_with_the_same_bytes_is_good_again(model: tuple[Path, Manifest]) -> None:
    folder, manifest = model
    os.utime(folder / "model.safetensors")
    (suspect,) = quick_check(folder, manifest)
    (file,) = [each for each in manifest.files if each.path == suspect.path]
    (checked,) = full_check(folder, [file], from_disk=True)
    assert not checked.fault
    fresh = tuple(checked.file if each == file else each for each in manifest.files)
    assert quick_check(folder, replace(manifest, files=fresh)) == []
    assert replace(manifest, files=fresh).digest == manifest.digest


@pytest.mark.parametrize("kind", ["file", "folder", "parent"])
def test_no_link_is_followed(model: tuple[Path, Manifest], tmp_path: Path, kind: str) -> None:
    folder, manifest = model
    if kind == "file":
        target, link = tmp_path / "elsewhere.safetensors", folder / "model.safetensors"
        path = "model.safetensors"
    elif kind == "folder":
        target, link = tmp_path / "other", folder / "model.safetensors"
        target.mkdir()
        link.unlink()
        link.mkdir()
        assert [each.path for each in quick_check(folder, manifest)] == ["model.safetensors"]
        return
    else:
        target, link, path = tmp_path / ".other", folder / "1_Pooling", "1_Pooling/config.json"
    link.rename(target)
    link.symlink_to(target)
    assert path in [each.path for each in quick_check(folder, manifest) if each.certain]


@pytest.mark.parametrize("break_it", ["missing", "link", "folder", "pipe", "binary", "long"])
def test_a_manifest_that_cannot_be_read(model: tuple[Path, Manifest], break_it: str) -> None:
    folder, manifest = model
    file = folder / MANIFEST
    file.unlink()
    if break_it == "link":
        (folder / "true.json").write_text(manifest.to_json())
        file.symlink_to("true.json")
    elif break_it == "folder":
        file.mkdir()
    elif break_it == "pipe":
        os.mkfifo(file)
    elif break_it == "binary":
        file.write_bytes(b"\xff")
    elif break_it == "long":
        with file.open("wb") as opened:
            opened.truncate(20_000_000)
    with pytest.raises(ManifestError, match=MANIFEST):
        read_manifest(folder)
