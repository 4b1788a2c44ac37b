"""The administrator's file: accepted when right, explained when wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.reconcile.platform import platform_of
from stoker.settings import ConfigError, load_settings

GOOD: dict[str, Any] = {
    "images": {"worker": "reg/worker:1", "envoy": "reg/envoy:1", "picker": "reg/picker:1"},
    "engines": {
        "vllm": {
            "image": "reg/vllm:1",
            "mounts": [{"claim": "engines", "path": "/opt/vllm"}],
            "allowedArgs": ["max-num-seqs"],
        }
    },
    "accelerators": {"cpu": {}, "nvidia": {"resource": "nvidia.com/gpu"}},
    "defaultAccelerator": "cpu",
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, GOOD))
    assert settings.lease.duration_seconds == 15
    platform = platform_of(settings, "stoker-system")
    assert platform.engines["vllm"].allowed_args == {"max-num-seqs"}
    assert platform.accelerators["cpu"].resource is None
    assert platform.drain_s == 120
    assert platform.allowed_labels == ()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("images.worker", None, ["images.worker: is missing; write image of the worker"]),
        ("images.enovy", "x", ["images.enovy: there is no such field", "envoy, picker, worker"]),
        ("engines.vllm.image", "", ["engines.vllm.image:", "stock image of the engine"]),
        ("engines.vllm.allowedArg", ["x"], ["engines.vllm.allowedArg: there is no such field"]),
        ("engines.vllm.mounts.0.path", "opt", ["engines.vllm.mounts.0.path:", "absolute path"]),
        ("engines", {}, ["engines:", "engine catalogue"]),
        ("defaultAccelerator", "h100", ["'h100' is not in the accelerator", "cpu, nvidia"]),
        ("drain", {"drainSeconds": -1}, ["drain.drainSeconds:", "1 to 3600"]),
        ("logLevel", "loud", ["logLevel:", "debug, info, warning or error"]),
        ("lease", {"retrySeconds": 12}, ["lease: retrySeconds must be below", "2, 10 and 15"]),
        ("watchNamespaces", "all", ["watchNamespaces:", "namespaces; empty: all of them"]),
    ],
)
def test_an_error_names_file_field_and_remedy(
    tmp_path: Path, path: str, value: Any, words: list[str]
) -> None:
    config = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place: Any = config
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    file = write(tmp_path, config)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    for word in words:
        assert word in message


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, {**GOOD, "images": {}, "nonsense": 1}))
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("text", ["", "- a", "images: [", "just words", "\t"])
def test_what_is_no_mapping_is_refused_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: "):
        load_settings(write(tmp_path, text))


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_settings(tmp_path / "absent.yaml")
