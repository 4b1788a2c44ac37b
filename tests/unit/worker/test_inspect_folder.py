"""A model's folder: what is read of it, and how little."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.cli import main
from stoker_worker.contract import ALLOW_PICKLE, ENV_TERMINATION_LOG, FACTS_COMMAND, Termination
from stoker_worker.inspect import InspectError, Reason, inspect_model
from stoker_worker.inspect.headers import Tensor
from stoker_worker.modelfacts import FULL, MAX_BYTES, from_message
from tests.support.checkpoints import SMALL, SMALL_TENSORS, write_header, write_model
from tests.support.families import FAMILIES, layout

_CONFIG = SMALL
_TENSORS = SMALL_TENSORS


def _refused(path: Path, **more: Any) -> InspectError:
    with pytest.raises(InspectError) as caught:
        inspect_model(path, **more)
    return caught.value


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
