"""Models that are refused: each fault by its name, with where it is and what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.inspect import InspectError, Reason, inspect_model
from stoker_worker.inspect.headers import MAX_HEADER
from tests.support.checkpoints import SMALL_TENSORS, write_header

_TENSORS = SMALL_TENSORS


def _refused(path: Path, **more: Any) -> InspectError:
    with pytest.raises(InspectError) as caught:
        inspect_model(path, **more)
    return caught.value


def _index(folder: Path) -> Path:
    return folder / "model.safetensors.index.json"


def _shard(number: int) -> str:
    return f"model-{number:05}-of-00003.safetensors"


def _rewritten(file: Path, change: Callable[[Any], object]) -> None:
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


# The folder and its configuration.


def test_no_folder(tmp_path: Path) -> None:
    error = _refused(tmp_path / "llama")
    assert error.reason == Reason.MODEL_NOT_FOUND
    assert str(tmp_path / "llama") in error.message


def test_an_empty_folder(tmp_path: Path) -> None:
    error = _refused(tmp_path)
    assert error.reason == Reason.MODEL_CONFIG_MISSING
    assert "it is empty" in error.message


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("adapter_config.json", '{"base_model_name_or_path": "org/base"}', "org/base"),
        ("params.json", "{}", "Mistral"),
        ("readme.md", "", "readme.md"),
    ],
)
def test_a_folder_without_a_config_says_what_it_is(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    (tmp_path / file).write_text(text)
    error = _refused(tmp_path)
    assert error.reason == Reason.MODEL_CONFIG_MISSING
    assert said in error.message


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "\x00", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"]
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_configuration_that_is_no_object(folder: Path, text: str, file: str) -> None:
    (folder / file).write_text(text)
    error = _refused(folder)
    assert error.reason == Reason.MODEL_CONFIG_INVALID
    assert str(folder / file) in error.message


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": -4096},
        {"hidden_size": 0},
        {"hidden_size": 10**12},
        {"num_hidden_layers": 10**6},
        {"num_hidden_layers": 10**30},
        {"num_attention_heads": -1},
        {"num_key_value_heads": 8},
        {"vocab_size": 2**40},
        {"max_position_embeddings": -1},
        {"head_dim": 10**9},
        {"num_local_experts": 4, "num_experts_per_tok": 5},
        {"sliding_window": -5},
    ],
)
def test_absurd_dimensions(folder: Path, change: dict[str, Any]) -> None:
    _rewritten(folder / "config.json", lambda data: data.update(change))
    error = _refused(folder)
    assert error.reason == Reason.DIMENSION_ABSURD
    assert "config.json" in error.message


@pytest.mark.parametrize(
    "change", [{"hidden_size": "big"}, {"vocab_size": None}, {"num_hidden_layers": 2.5}]
)
def test_dimensions_that_are_no_numbers(folder: Path, change: dict[str, Any]) -> None:
    _rewritten(folder / "config.json", lambda data: data.update(change))
    error = _refused(folder)
    assert error.reason == Reason.MODEL_CONFIG_INVALID
    assert next(iter(change)) in error.message


def test_code_of_the_model_is_refused(folder: Path) -> None:
    change = {"architectures": ["OwnForCausalLM"], "auto_map": {"AutoConfig": "own.OwnConfig"}}
    _rewritten(folder / "config.json", lambda data: data.update(change))
    error = _refused(folder)
    assert error.reason == Reason.REMOTE_CODE
    assert "OwnForCausalLM" in error.message


# Weights.


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    error = _refused(folder)
    assert error.reason == Reason.WEIGHTS_MISSING
    assert "config.json" in error.message


def test_gguf_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.Q4_K_M.gguf")
    assert _refused(folder).reason == Reason.GGUF_ONLY
    assert _refused(folder / "model.Q4_K_M.gguf").reason == Reason.GGUF_ONLY
    (folder / "config.json").unlink()
    assert _refused(folder).reason == Reason.GGUF_ONLY


def test_pickles_are_refused_unless_they_are_allowed(folder: Path) -> None:
    expected = inspect_model(folder)
    (folder / "model.safetensors").unlink()
    (folder / "training_args.bin").write_bytes(b"x" * 999)
    (folder / "pytorch_model-00001-of-00002.bin").write_bytes(b"x" * 1000)
    (folder / "pytorch_model-00002-of-00002.bin").write_bytes(b"x" * 500)
    error = _refused(folder)
    assert error.reason == Reason.PICKLE_WEIGHTS
    assert "safetensors" in error.message
    assert "models.allowPickle" in error.message
    facts = inspect_model(folder, allow_pickle=True)
    assert facts.parameters == 750
    assert facts.weight_bytes == 1500
    assert facts.layers == expected.layers
    assert "estimated" in facts.warnings[0]


def test_a_pickle_is_measured_by_its_directory(folder: Path) -> None:
    import zipfile  # noqa: PLC0415 - for this test alone

    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'false'\ntR.")
        archive.writestr("archive/data/0", b"x" * 4000)
        archive.writestr("archive/data/1", b"x" * 2000)
    assert inspect_model(folder, allow_pickle=True).parameters == 3000


def test_an_index_without_a_file(sharded: Path) -> None:
    (sharded / _shard(2)).unlink()
    error = _refused(sharded)
    assert error.reason == Reason.SHARD_MISSING
    assert _shard(2) in error.message


def test_numbered_files_without_an_index_have_to_be_all_there(sharded: Path) -> None:
    _index(sharded).unlink()
    assert inspect_model(sharded).parameters > 0
    (sharded / _shard(2)).unlink()
    error = _refused(sharded)
    assert error.reason == Reason.SHARD_MISSING
    assert _shard(2) in error.message


def test_an_index_that_names_another_file(sharded: Path) -> None:
    def lie(data: Any) -> None:
        name = _TENSORS[0].name
        data["weight_map"][name] = _shard(2)

    _rewritten(_index(sharded), lie)
    error = _refused(sharded)
    assert error.reason == Reason.TENSOR_MISPLACED
    assert _TENSORS[0].name in error.message
    assert _shard(1) in error.message
    assert _shard(2) in error.message


def test_an_index_that_names_a_tensor_too_many(sharded: Path) -> None:
    _rewritten(_index(sharded), lambda data: data["weight_map"].update({"ghost": _shard(1)}))
    error = _refused(sharded)
    assert error.reason == Reason.TENSOR_MISSING
    assert "ghost" in error.message


def test_an_index_that_names_a_tensor_too_few(sharded: Path) -> None:
    _rewritten(_index(sharded), lambda data: data["weight_map"].pop(_TENSORS[0].name))
    assert "1 tensors that the index does not name" in inspect_model(sharded).warnings[0]


def test_a_tensor_that_is_there_twice(sharded: Path) -> None:
    write_header(sharded / _shard(2), [*_TENSORS[1::3], _TENSORS[0]])
    for _ in ("with an index", "without"):
        error = _refused(sharded)
        assert error.reason == Reason.TENSOR_MISPLACED
        assert f"{_TENSORS[0].name!r} is in {_shard(1)} and in {_shard(2)}" in error.message
        _index(sharded).unlink(missing_ok=True)


def test_a_wrong_total_is_a_doubt(sharded: Path) -> None:
    _rewritten(_index(sharded), lambda data: data["metadata"].update(total_size=5))
    facts = inspect_model(sharded)
    assert "total size of 5 bytes" in facts.warnings[0]
    assert facts.weight_bytes == sum(each.size for each in _TENSORS)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 5}}',
        '{"weight_map": {"a": "../../etc/shadow.safetensors"}}',
        '{"weight_map": {"a": "model.bin"}}',
    ],
)
def test_an_index_that_is_none(sharded: Path, text: str) -> None:
    _index(sharded).write_text(text)
    error = _refused(sharded)
    assert error.reason == Reason.INDEX_INVALID
    assert str(_index(sharded)) in error.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.FILE_TRUNCATED),
        (b"1234567", Reason.FILE_TRUNCATED),
        ((500).to_bytes(8, "little") + b"{}", Reason.FILE_TRUNCATED),
        ((MAX_HEADER + 1).to_bytes(8, "little") + b"{}", Reason.HEADER_TOO_LONG),
        (b"\xff" * 64, Reason.HEADER_TOO_LONG),
        ((2).to_bytes(8, "little") + b"{]", Reason.HEADER_INVALID),
        ((2).to_bytes(8, "little") + b"[]", Reason.HEADER_INVALID),
        (b"version https://git-lfs.github.com/spec/v1\n", Reason.HEADER_TOO_LONG),
    ],
)
def test_a_file_that_is_no_safetensors_file(folder: Path, content: bytes, reason: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    error = _refused(folder)
    assert error.reason == reason
    assert str(folder / "model.safetensors") in error.message
    assert "again" in error.message


def test_a_file_that_was_cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    assert _refused(folder).reason == Reason.FILE_TRUNCATED


def test_a_file_with_more_than_it_says(folder: Path) -> None:
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size + 1)
    assert _refused(folder).reason == Reason.HEADER_INVALID


# What the system refuses.


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_dangling_link(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/nowhere/blob")
    error = _refused(folder)
    assert error.reason == Reason.UNREADABLE
    assert "/nowhere/blob" in error.message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_where_a_file_should_be(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    error = _refused(folder)
    assert error.reason == Reason.UNREADABLE
    assert str(folder / name) in error.message


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    assert _refused(folder).reason == Reason.UNREADABLE


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root reads everything, so a mode would refuse nothing.
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    error = _refused(folder)
    assert error.reason == Reason.UNREADABLE
    assert "Permission denied" in error.message
    assert f"user {os.getuid()}" in error.message
