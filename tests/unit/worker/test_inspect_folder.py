"""A model's folder: what is read, how little of it, and each fault by its name."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.cli import main
from stoker_worker.contract import ALLOW_PICKLE, ENV_TERMINATION_LOG, FACTS_COMMAND, Termination
from stoker_worker.inspect import InspectError, Reason, inspect_model
from stoker_worker.inspect.headers import MAX_HEADER, Tensor
from stoker_worker.modelfacts import FULL, MAX_BYTES, from_message
from tests.support.checkpoints import write_header, write_model
from tests.support.families import FAMILIES, layout

_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}
_TENSORS = tuple(layout(_CONFIG))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", _CONFIG, _TENSORS)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", _CONFIG, _TENSORS, shards=3)


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


# What is read.


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-27b", "gpt-oss-20b"])
def test_a_folder_gives_the_facts_of_its_parts(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    write_model(tmp_path, family.config, family.tensors, shards=4)
    assert inspect_model(tmp_path) == family.facts


def test_equal_models_have_equal_digests_however_they_are_laid_out(tmp_path: Path) -> None:
    one = inspect_model(write_model(tmp_path / "one", _CONFIG, _TENSORS))
    four = inspect_model(write_model(tmp_path / "four", _CONFIG, _TENSORS[::-1], shards=4))
    moved = {"_name_or_path": "/elsewhere", "transformers_version": "9.9", **_CONFIG}
    copied = inspect_model(write_model(tmp_path / "copy", moved, _TENSORS))
    assert one == four == copied
    assert len(one.digest) == 64


def test_another_model_has_another_digest(tmp_path: Path, folder: Path) -> None:
    digests = {inspect_model(folder).digest}
    wider = {**_CONFIG, "max_position_embeddings": 1024}
    digests.add(inspect_model(write_model(tmp_path / "a", wider, _TENSORS)).digest)
    fewer = _TENSORS[:-1]
    digests.add(inspect_model(write_model(tmp_path / "b", _CONFIG, fewer)).digest)
    (folder / "quantize_config.json").write_text('{"bits": 4, "desc_act": false}')
    digests.add(inspect_model(folder).digest)
    assert len(digests) == 4


def test_a_file_of_140_gb_is_not_read(tmp_path: Path) -> None:
    family = FAMILIES["llama-3.1-70b"]
    write_model(tmp_path, family.config, family.tensors)
    assert (tmp_path / "model.safetensors").stat().st_size > 140e9
    before = time.process_time()
    assert inspect_model(tmp_path).parameters == family.published
    assert time.process_time() - before < 1


def test_two_terabytes_are_only_sums(tmp_path: Path) -> None:
    big = {**_CONFIG, "hidden_size": 16384, "vocab_size": 1000, "intermediate_size": 2**21}
    tensors = tuple(layout({**big, "num_hidden_layers": 10}))
    write_model(tmp_path, {**big, "num_hidden_layers": 10}, tensors, shards=5)
    facts = inspect_model(tmp_path)
    assert facts.weight_bytes == sum(each.size for each in tensors) > 2e12


def test_links_are_followed(tmp_path: Path, folder: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert inspect_model(linked) == inspect_model(folder)


def test_the_same_weights_under_a_second_name_count_once(folder: Path) -> None:
    expected = inspect_model(folder)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    shutil.copy(folder / "model.safetensors", folder / "adapter_model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.00.pth").write_bytes(b"x")
    assert inspect_model(folder) == expected


def test_only_files_of_the_index_count(sharded: Path) -> None:
    expected = inspect_model(sharded)
    write_header(sharded / "other.safetensors", _TENSORS)
    assert inspect_model(sharded) == expected


def test_a_quantization_file_of_its_own_is_read(folder: Path) -> None:
    (folder / "hf_quant_config.json").write_text(
        json.dumps({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}})
    )
    quantization = inspect_model(folder).quantization
    assert quantization is not None
    assert (quantization.method, quantization.bits) == ("modelopt", 8)


def test_an_embedder_says_so_in_its_stages(folder: Path) -> None:
    assert inspect_model(folder).task == "generate"
    (folder / "modules.json").write_text("[]")
    facts = inspect_model(folder)
    assert facts.task == "embed"
    assert facts.layers[0].kind == FULL


# Adapters.


def _adapter(folder: Path, rank: object = 16, rows: int = 100) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "rank_pattern": {}}))
    write_header(folder / "adapter_model.safetensors", [Tensor("a", "F16", (rows,), 2 * rows)])


def test_adapters_below_the_folder_are_listed(folder: Path) -> None:
    plain = inspect_model(folder)
    _adapter(folder / "sql")
    _adapter(folder / "adapters" / "chat", rank=64)
    _adapter(folder / ".cache" / "hidden")
    facts = inspect_model(folder)
    assert facts.adapters == (("adapters/chat", 64, 200), ("sql", 16, 200))
    assert facts.warnings == ()
    assert facts.digest != plain.digest
    assert facts.parameters == plain.parameters


def test_a_rank_pattern_may_be_larger(folder: Path) -> None:
    _adapter(folder / "sql")
    (folder / "sql" / "adapter_config.json").write_text('{"r": 8, "rank_pattern": {"q": 32}}')
    assert inspect_model(folder).adapters == (("sql", 32, 200),)


@pytest.mark.parametrize("text", ["{", "{}", '{"r": -1}', '{"r": "many"}'])
def test_a_bad_adapter_is_no_fault_of_the_model(folder: Path, text: str) -> None:
    _adapter(folder / "sql")
    (folder / "sql" / "adapter_config.json").write_text(text)
    facts = inspect_model(folder)
    assert facts.adapters == ()
    assert facts.warnings[0].startswith("adapter left out:")


def test_many_adapters_still_fit(folder: Path) -> None:
    for number in range(60):
        _adapter(folder / f"{number:02}-{'n' * 100}", rank=number + 1)
    facts = inspect_model(folder)
    assert len(facts.adapters) == 12
    assert max(rank for _, rank, _ in facts.adapters) == 60
    assert "48 more adapters" in facts.warnings[0]


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


# The command.


def test_the_command_prints_facts_and_leaves_them(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv(ENV_TERMINATION_LOG, str(log))
    assert main([*FACTS_COMMAND[3:], str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed == log.read_text() + "\n"
    assert len(printed) <= MAX_BYTES + 100
    assert from_message(printed) == inspect_model(folder)


def test_the_command_leaves_a_reason(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv(ENV_TERMINATION_LOG, str(log))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert main(["facts", str(folder)]) == 1
    left = Termination.parse(log.read_text())
    assert left is not None
    assert left.reason == Reason.PICKLE_WEIGHTS
    assert str(folder) in left.message
    assert Termination.parse(capsys.readouterr().out) == left
    assert main(["facts", str(folder), ALLOW_PICKLE]) == 0
    assert from_message(log.read_text()) is not None


@pytest.mark.parametrize(
    "words", [["facts"], ["facts", "a", "b"], ["facts", "a", ALLOW_PICKLE, "c"]]
)
def test_a_command_that_is_none_shows_how(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "stoker-worker facts MODEL_DIR" in capsys.readouterr().err


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    folder.mkdir()
    error = _refused(folder)
    assert "m\\udcff" in error.message
    assert Termination(error.reason, error.message).to_json().isascii()
