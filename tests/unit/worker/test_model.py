"""What can be said about a model's folder before the engine looks at it."""

from pathlib import Path

import pytest

from stoker_worker.contract import TerminationReason
from stoker_worker.model import check_model


def test_a_folder_with_a_config_may_be_tried(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert check_model(tmp_path) is None


def test_other_layouts_may_be_tried(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text("{}")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert check_model(tmp_path) is None
    assert check_model(tmp_path / "m.gguf") is None


def test_a_missing_folder_is_named_with_what_is_there_instead(tmp_path: Path) -> None:
    (tmp_path / "qwen").mkdir()
    fault = check_model(tmp_path / "llama" / "v1")
    assert fault.reason == TerminationReason.MODEL_NOT_FOUND
    assert str(tmp_path / "llama" / "v1") in fault.message
    assert "qwen" in fault.message


def test_an_empty_volume_says_so(tmp_path: Path) -> None:
    assert "it is empty" in check_model(tmp_path / "llama").message
    assert "it is empty" in check_model(tmp_path).message
    (tmp_path / ".lock").touch()
    (tmp_path / "llama-3").mkdir()
    assert "holds llama-3;" in check_model(tmp_path / "llama").message


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"file{number:02}").touch()
    fault = check_model(tmp_path)
    assert fault.reason == TerminationReason.MODEL_NOT_FOUND
    assert "config.json" in fault.message
    assert "and 12 more" in fault.message


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_config_that_cannot_be_read_is_invalid(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    fault = check_model(tmp_path)
    assert fault.reason == TerminationReason.MODEL_INVALID
    assert "config.json" in fault.message


def test_pickles_alone_are_refused_unless_the_operator_allows_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "training_args.bin").touch()
    assert check_model(tmp_path) is None
    for number in range(1, 12):
        (tmp_path / f"pytorch_model-{number:05}-of-00011.bin").touch()
    fault = check_model(tmp_path)
    assert fault.reason == TerminationReason.PICKLE_WEIGHTS
    assert "models.allowPickle" in fault.message
    assert "pytorch_model-00001-of-00011.bin" in fault.message
    assert "and 3 more" in fault.message
    assert check_model(tmp_path, allow_pickle=True) is None
    (tmp_path / "model.safetensors").touch()  # which an engine prefers
    assert check_model(tmp_path) is None
