"""The administrator's file: accepted when right, explained when wrong."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.reconcile.platform import caches_of, platform_of
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
    assert (platform.node_wait_s, platform.node_retry_s) == (900, 300)
    assert platform.allowed_labels == ()
    assert platform.allow_pickle is False


def test_pickles_are_served_where_the_administrator_says_so(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, {**GOOD, "models": {"allowPickle": True}}))
    assert platform_of(settings, "stoker-system").allow_pickle is True


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("images.worker", None, ["images.worker: is missing; write image of the worker"]),
        (
            "externalScalers",
            {"hpa": {"enabled": True}},
            ["externalScalers.hpa.certificate: is missing", "tls.crt"],
        ),
        (
            "externalScalers",
            {"keda": {"verifyClients": True}},
            ["externalScalers.keda.verifyClients: needs TLS"],
        ),
        ("externalScalers", {"keda": {"port": 0}}, ["externalScalers.keda.port:", "1 to 65535"]),
        ("images.enovy", "x", ["images.enovy: there is no such field", "envoy, picker, worker"]),
        ("engines.vllm.image", "", ["engines.vllm.image:", "stock image of the engine"]),
        ("engines.vllm.allowedArg", ["x"], ["engines.vllm.allowedArg: there is no such field"]),
        ("engines.vllm.mounts.0.path", "opt", ["engines.vllm.mounts.0.path:", "absolute path"]),
        ("engines", {}, ["engines:", "engine catalogue"]),
        ("defaultAccelerator", "h100", ["'h100' is not in the accelerator", "cpu, nvidia"]),
        ("drain", {"drainSeconds": -1}, ["drain.drainSeconds:", "1 to 3600"]),
        ("nodes", {"waitSeconds": 1}, ["nodes.waitSeconds:", "5 to 7200"]),
        ("models", {"allowPickles": True}, ["models.allowPickles: there is no", "allowPickle?"]),
        ("models", {"allowPickle": "perhaps"}, ["models.allowPickle:", "runs the code in it"]),
        ("logLevel", "loud", ["logLevel:", "debug, info, warning or error"]),
        ("lease", {"retrySeconds": 12}, ["lease: retrySeconds must be below", "2, 10 and 15"]),
        (
            "accelerators.cpu.hardwear",
            {},
            ["accelerators.cpu.hardwear: there is no such field; did you mean hardware?", "share"],
        ),
        (
            "accelerators.cpu.hardware",
            {"pricePerHuor": 1},
            ["accelerators.cpu.hardware.pricePerHuor:", "did you mean pricePerHour?", "tflops"],
        ),
        (
            "accelerators.cpu.hardware",
            {"tflops": {"bf16": 1}},
            ["accelerators.cpu.hardware.tflops.bf16:", "did you mean bfloat16?", "fp8"],
        ),
        (
            "accelerators.cpu.hardware",
            {"memoryGiB": 0},
            ["accelerators.cpu.hardware.memoryGiB:", "GiB that a process sees, 0 to 4096"],
        ),
        (
            "accelerators.cpu.hardware",
            {"computeCapability": 8.9},
            ["hardware.computeCapability:", "in quotes, for example '8.9'"],
        ),
        (
            "accelerators.cpu.hardware",
            {"linkKind": "wire"},
            ["hardware.linkKind:", "nvlink, xgmi, pcie, memory or none"],
        ),
        ("accelerators.cpu.share", 2, ["accelerators.cpu.share:", "0 to 1"]),
        ("accelerators.cpu.mostPerNode", 2, ["accelerators.cpu.mostPerNode: there is no such"]),
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


def test_the_platform_knows_the_hardware_of_what_is_offered(tmp_path: Path) -> None:
    accelerators = {
        "cpu": {"hardware": {"memoryGiB": 16, "bandwidthGBs": 40.5}},
        "nvidia": {"resource": "nvidia.com/gpu"},
        "nvidia-l4": {"resource": "nvidia.com/gpu", "hardware": {"spotPricePerHour": 0.3}},
        "shared": {"like": "nvidia-l4", "share": 0.5, "resource": "nvidia.com/gpu.shared"},
    }
    settings = load_settings(write(tmp_path, {**GOOD, "accelerators": accelerators}))
    platform = platform_of(settings, "stoker-system")
    assert set(platform.gpus) == {"cpu", "nvidia-l4", "shared"}
    assert platform.gpus["cpu"].memory_bytes == 16 * 2**30
    assert platform.gpus["cpu"].bandwidth == 40.5e9
    assert platform.gpus["shared"].spot_price_per_hour == 0.15
    assert platform.accelerators["shared"].resource == "nvidia.com/gpu.shared"
    assert hash(platform) == hash(platform_of(settings, "stoker-system"))


def test_hardware_that_cannot_be_told_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    accelerators = {"cpu": {}, "mine": {"like": "nvidia-l5"}}
    settings = load_settings(write(tmp_path, {**GOOD, "accelerators": accelerators}))
    with pytest.raises(ConfigError, match=r"accelerators\.mine\.like: there is no type"):
        platform_of(settings, "stoker-system")


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


def test_caches_have_defaults_that_a_public_hub_needs(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, GOOD))
    caches = caches_of(settings, "stoker-system", ("10.96.0.1", "not an address"))
    assert caches.hub == "https://huggingface.co"
    assert caches.storage.pvc is not None
    assert (caches.max_bytes, caches.verify_every_s) == (0, None)
    assert caches.forbidden_networks == ("10.96.0.1/32",)
    assert caches.proxies == ()
    assert not caches.allow_code


def test_what_the_administrator_says_of_caches_reaches_their_jobs(tmp_path: Path) -> None:
    said = {
        "storage": {"perNodeStorageClassName": "local"},
        "schemes": ["hf", "s3"],
        "hub": "https://mirror.example.com/",
        "proxy": {"https": "http://proxy.example.com:3128", "no": ".svc"},
        "forbiddenNetworks": ["10.0.0.10/32", "fd00::/8"],
        "maxSize": "200Gi",
        "verifyEvery": "168h",
        "caConfigMap": "authorities",
    }
    caches = caches_of(load_settings(write(tmp_path, {**GOOD, "caches": said})), "s", ("fd00::1",))
    assert caches.storage.per_node is not None
    assert caches.schemes == {"hf", "s3"}
    assert caches.hub == "https://mirror.example.com"
    assert caches.proxies == (
        ("HTTPS_PROXY", "http://proxy.example.com:3128"),
        ("NO_PROXY", ".svc"),
    )
    assert caches.forbidden_networks == ("10.0.0.10/32", "fd00::/8", "fd00::1/128")
    assert caches.max_bytes == 200 * 2**30
    assert caches.verify_every_s == 168 * 3600
    assert caches.ca_config_map == "authorities"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"schemes": ["ftp"]}, "caches.schemes"),
        ({"hub": "mirror.example.com"}, "caches.hub"),
        ({"forbiddenNetworks": ["10.0.0.300"]}, "caches.forbiddenNetworks"),
        ({"maxSize": "much"}, "caches.maxSize"),
        ({"verifyEvery": "weekly"}, "caches.verifyEvery"),
        ({"storage": {"accessModes": ["ReadOnlyMany"]}}, "caches.storage.accessModes"),
        (
            {"storage": {"existingClaim": "a", "perNodeStorageClassName": "b"}},
            "caches.storage: existingClaim and perNodeStorageClassName exclude each other",
        ),
    ],
)
def test_mistakes_about_caches_name_their_field(
    tmp_path: Path, said: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(field)):
        load_settings(write(tmp_path, {**GOOD, "caches": said}))
