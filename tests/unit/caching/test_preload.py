"""Lists of models to preload: what they mean, what is wrong with them, what is done about each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker import naming
from stoker.api.modelcache import ModelCache
from stoker.caching import preload
from stoker.caching.preload import Entry, Preloads

GOOD = """
- name: qwen
  uri: hf://Qwen/Qwen2.5-0.5B
  revision: v1
  secretRef: hub-token
- name: local
  path: models/llama-3/8b
- name: other
  uri: s3://bucket/folder
  secretRef: {name: bucket-keys}
"""


def read(text: str) -> Preloads:
    return preload.parse({preload.KEY: text})


def test_a_good_list() -> None:
    assert read(GOOD) == Preloads(
        (
            Entry(1, "qwen", "hf://Qwen/Qwen2.5-0.5B", "v1", "hub-token"),
            Entry(2, "local", "pvc://models/llama-3/8b"),
            Entry(3, "other", "s3://bucket/folder", None, "bucket-keys"),
        )
    )
    assert read("") == read("# nothing yet") == read("[]") == Preloads()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("3", "is no mapping: write `- name: NAME`"),
        ("{uri: hf://a/b}", "has no name: write name:"),
        ("{name: '', uri: hf://a/b}", "has no name"),
        ("{name: A_b, uri: hf://a/b}", "name must be a DNS label"),
        ("{name: x}", "exactly one of uri and path"),
        ("{name: x, uri: hf://a/b, path: c/d}", "exactly one of uri and path"),
        ("{name: x, uri: ftp://a/b}", "uri cannot be used: write hf://ORG/NAME"),
        ("{name: x, uri: hf://a/../b}", "write the path without them"),
        ("{name: x, uri: https://a/b.gguf}", "no engine here loads"),
        ("{name: x, uri: https://a/b.safetensors}", "needs config.json and a tokenizer beside it"),
        ("{name: x, uri: https://a/b.tar}", "needs revision sha256:"),
        ("{name: x, uri: hf://a/b, revision: 1.0}", "revision is no text: write it in quotes"),
        ("{name: x, uri: hf://a/b, revision: --x}", "revision cannot be used: write a branch"),
        ("{name: x, uri: hf://a/b, secretRef: A b}", "secretRef cannot be used: write the name"),
        ("{name: x, uri: hf://a/b, secretRef: {key: x}}", "write secretRef: NAME"),
        ("{name: x, uri: hf://a/b, size: 3}", "an unknown key, size: write one of name, path"),
        ("{name: on, uri: hf://a/b}", "name is no text: write it in quotes"),
        ("{name: x, path: /data/llama}", "write path: CLAIM/FOLDER"),
        ("{name: x, path: claim}", "write path: CLAIM/FOLDER"),
        ("{name: x, path: 'hf://a/b'}", "an address goes into uri"),
        ("{name: x, path: c/../d}", "write the path without them"),
        ("{name: x, path: 3}", "path is no text"),
        ("{3: c}", "one that is no text"),
    ],
)
def test_each_fault_is_told_with_its_number_and_good_entries_go_on(entry: str, said: str) -> None:
    found = read(f"- {{name: first, uri: hf://a/b}}\n- {entry}\n- {{name: last, path: c/d}}\n")
    assert [each.name for each in found.entries] == ["first", "last"]
    assert [each.number for each in found.entries] == [1, 3]
    (fault,) = found.faults
    assert fault.startswith("entry 2")
    assert said in fault


def test_a_name_that_comes_twice() -> None:
    found = read("- {name: x, uri: hf://a/b}\n- {name: x, uri: hf://a/c}\n")
    assert [each.uri for each in found.entries] == ["hf://a/b"]
    assert found.faults == ("entry 2 (x): entry 1 has this name already; write another",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "is not there"),
        ({}, "is not there"),
        ({preload.KEY: "- ["}, "is not YAML"),
        ({preload.KEY: "[" * 30_000}, "is not YAML"),
        ({preload.KEY: "!!python/object/apply:os.system [id]"}, "is not YAML"),
        ({preload.KEY: "a: b"}, "is no list"),
        ({preload.KEY: "a"}, "is no list"),
        ({preload.KEY: "- 2026-99-99"}, "is not YAML"),
        ({preload.KEY: "-\n" * 201}, "at most 200 are read"),
        ({preload.KEY: "#" * 40_000}, "at most 32,768 are read"),
    ],
)
def test_a_list_that_is_none(data: Any, said: str) -> None:
    found = preload.parse(data)
    assert not found.entries
    (fault,) = found.faults
    assert fault.startswith(preload.KEY)
    assert said in fault


def test_aliases_that_grow_without_bound_are_never_written_out() -> None:
    lines = ["- &a [x, x, x, x, x, x, x, x]"]
    for before, after in zip("abcdefghijkl", "bcdefghijklm", strict=True):
        lines.append(f"- &{after} [{', '.join([f'*{before}'] * 8)}]")
    lines.append("- {name: x, uri: *m}")
    found = read("\n".join(lines))
    assert len(found.faults) == 14
    assert all(len(fault) < 200 for fault in found.faults)


@given(st.text(max_size=200))
def test_nothing_that_is_written_breaks_it(text: str) -> None:
    found = read(text)
    for entry in found.entries:
        ModelCache.model_validate(preload.manifest_of(entry.name, entry.model))


ENTRY = Entry(1, "qwen", "hf://Qwen/Qwen", "v1", "token")


def existing(model: dict[str, Any], by: str | None = None, **metadata: Any) -> dict[str, Any]:
    annotations = {naming.ANNOTATION_PRELOADED: by} if by else {}
    return {
        "metadata": {"name": "qwen", "annotations": annotations, **metadata},
        "spec": {"model": model, "retain": True},
    }


def test_what_is_not_there_is_made() -> None:
    step = preload.step_of(ENTRY, "list", None)
    assert step.manifest == {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "ModelCache",
        "metadata": {"name": "qwen", "annotations": {naming.ANNOTATION_PRELOADED: "list"}},
        "spec": {"model": ENTRY.model},
    }
    ModelCache.model_validate(step.manifest)


@pytest.mark.parametrize("by", [None, "list", "another-list"])
def test_what_is_there_already_is_left_as_it_is(by: str | None) -> None:
    assert preload.step_of(ENTRY, "list", existing(ENTRY.model, by)) == preload.Step()


def test_an_entry_that_changed_changes_the_cache_that_it_made() -> None:
    before = existing({"uri": "hf://Qwen/old"}, "list")
    assert preload.step_of(ENTRY, "list", before).manifest["spec"]["model"] == ENTRY.model


@pytest.mark.parametrize("by", [None, "another-list"])
@pytest.mark.parametrize(
    "model",
    [
        {"uri": "hf://Qwen/old"},
        {**ENTRY.model, "revision": "v2"},
        {"uri": ENTRY.uri, "revision": "v1"},
    ],
)
def test_somebody_elses_is_never_overwritten(model: dict[str, Any], by: str | None) -> None:
    step = preload.step_of(ENTRY, "list", existing(model, by))
    assert not step.manifest
    assert "made by somebody else" in step.fault
    assert "write another name" in step.fault


def test_one_that_is_going_is_waited_for() -> None:
    going = existing({"uri": "hf://x/y"}, "list", deletionTimestamp="2026-01-01T00:00:00Z")
    assert preload.step_of(ENTRY, "list", going) == preload.Step()
