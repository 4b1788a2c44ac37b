"""Of each kind of repository, the files that an engine reads, and no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.select import Selection, select, to_read

LLAMA = {"architectures": ["LlamaForCausalLM"]}
TOKENIZER = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]
NOISE = [".gitattributes", "LICENSE", "README.md", "USE_POLICY.md"]


def _select(
    paths: list[str], config: dict[str, Any] | None = None, index: Any = None, **allow: bool
) -> Selection:
    files = [RemoteFile(path, 10) for path in paths]
    texts = {}
    if config is not None:
        texts["config.json"] = json.dumps(config).encode()
    if index is not None:
        texts["model.safetensors.index.json"] = json.dumps(index).encode()
    assert {each.path for each in to_read(files)} == set(texts)
    return select(files, texts, **allow)


def _index(*shards: str) -> dict[str, Any]:
    return {"weight_map": {f"layer.{n}": shard for n, shard in enumerate(shards)}}


def _paths(selection: Selection) -> list[str]:
    return sorted(file.path for file in selection.files)


SHARDS = [f"model-{n:05}-of-00004.safetensors" for n in range(1, 5)]


def test_a_large_llama_as_its_hub_lists_it() -> None:
    wanted = [
        "config.json",
        "generation_config.json",
        *SHARDS,
        "model.safetensors.index.json",
        *TOKENIZER,
    ]
    left = [*NOISE, "original/consolidated.00.pth", "original/params.json"]
    left.append("original/tokenizer.model")
    selection = _select([*left, *wanted], LLAMA, _index(*SHARDS))
    assert _paths(selection) == sorted(wanted)
    assert (selection.bytes, selection.left_out) == (10 * len(wanted), len(left))
    assert selection.left_bytes == 10 * len(left)


def test_the_same_weights_in_every_other_format_stay() -> None:
    left = [
        *NOISE,
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
        "flax_model.msgpack",
        "rust_model.ot",
        "model.onnx",
        "onnx/model.onnx",
        "onnx/config.json",
        "openvino/openvino_model.xml",
        "coreml/model.mlmodel",
        "consolidated.safetensors",
        "params.json",
        "model-q4.gguf",
        "training_args.bin",
        "trainer_state.json",
        "optimizer.pt",
        "checkpoint-500/model.safetensors",
    ]
    wanted = ["config.json", "merges.txt", "model.safetensors", "vocab.json", *TOKENIZER]
    assert _paths(_select([*left, *wanted], LLAMA)) == sorted(wanted)


def test_an_index_names_the_shards_and_nothing_else_is_weights() -> None:
    shards = ["layers-0.safetensors", "outside.safetensors", "mtp.safetensors"]
    found = _select(
        ["config.json", "model.safetensors.index.json", "model.safetensors", *shards],
        LLAMA,
        _index(*shards),
    )
    assert "model.safetensors" not in _paths(found)
    assert set(shards) < set(_paths(found))


def test_mistral_in_its_own_layout_alone() -> None:
    wanted = ["consolidated.safetensors", "params.json", "tekken.json"]
    assert _paths(_select([*NOISE, *wanted])) == wanted


def test_multimodal_adapters_embedders_and_templates() -> None:
    wanted = [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "config.json",
        "config_sentence_transformers.json",
        "hf_quant_config.json",
        "loras/sql/adapter_config.json",
        "loras/sql/adapter_model.safetensors",
        "model.safetensors",
        "modules.json",
        "preprocessor_config.json",
        "qwen.tiktoken",
        "speech-lora/adapter_config.json",
        "speech-lora/adapter_model.safetensors",
        "tokenizer.model",
        "tokenizer.model.v3",
        "vocab.txt",
    ]
    left = [
        "2_Dense/pytorch_model.bin",
        "assets/picture.png",
        "loras/old/adapter_config.json",
        "loras/old/adapter_model.bin",
        "loras/a/b/adapter_config.json",
        "loras/a/b/adapter_model.safetensors",
        "speech-lora/README.md",
        "requirements.txt",
    ]
    assert _paths(_select([*left, *wanted], LLAMA)) == wanted


def test_an_adapter_alone() -> None:
    wanted = ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]
    assert _paths(_select([*NOISE, *wanted])) == wanted


def test_pickles_only_where_they_are_allowed_and_nothing_better_is_there() -> None:
    paths = ["config.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "optimizer.bin"]
    with pytest.raises(FetchError, match=r"pytorch_model\.bin") as refused:
        _select(paths, LLAMA)
    assert refused.value.reason == FetchReason.PICKLE_WEIGHTS
    assert _paths(_select(paths, LLAMA, allow_pickle=True)) == paths[:3]
    better = _select([*paths, "model.safetensors"], LLAMA, allow_pickle=True)
    assert _paths(better) == ["config.json", "model.safetensors"]


CODE = ["config.json", "model.safetensors", "modeling_new.py", "tokenization_new.py"]


@pytest.mark.parametrize(
    ("config", "allow", "taken"),
    [
        (LLAMA, False, CODE[:2]),
        ({**LLAMA, "auto_map": {"AutoModel": "modeling_new.New"}}, False, CODE[:2]),
        ({"architectures": ["New"], "auto_map": {"AutoModel": "modeling_new.New"}}, True, CODE),
        (LLAMA, True, CODE),
    ],
)
def test_code_beside_the_model(config: dict[str, Any], allow: Any, taken: list[str]) -> None:
    assert _paths(_select(CODE, config, allow_code=allow)) == taken


def test_code_that_an_unknown_architecture_needs_is_refused() -> None:
    config = {"architectures": ["New"], "auto_map": {"AutoModel": "modeling_new.New"}}
    with pytest.raises(FetchError, match="auto_map") as refused:
        _select(CODE, config)
    assert refused.value.reason == FetchReason.REMOTE_CODE


@pytest.mark.parametrize(
    ("paths", "config", "index", "said"),
    [
        ([], None, None, "it is empty"),
        (["README.md"], None, None, r"no config\.json"),
        (["a-q4.gguf", "a-q8.gguf", "README.md"], None, None, "GGUF alone"),
        (["config.json", "a-q4.gguf"], LLAMA, None, "GGUF alone"),
        (["model_index.json", "unet/model.safetensors"], None, None, "Diffusers"),
        (["config.json", "tokenizer.json"], LLAMA, None, "no weights"),
        (["config.json", "adapter_model.safetensors"], LLAMA, None, "no weights"),
        (
            ["config.json", "model.safetensors.index.json", SHARDS[0]],
            LLAMA,
            _index(*SHARDS),
            r"does not have \(3 of 4",
        ),
        (["config.json", "model.safetensors.index.json"], LLAMA, {}, "weight_map"),
        (["config.json", "model.safetensors.index.json"], LLAMA, [], "no JSON object"),
    ],
)
def test_no_model(paths: list[str], config: Any, index: Any, said: str) -> None:
    with pytest.raises(FetchError, match=said) as refused:
        _select(paths, config, index)
    assert refused.value.reason == FetchReason.NO_MODEL


@pytest.mark.parametrize(
    "path",
    ["../config.json", "/etc/passwd", "a/../../b.txt", "a\\b.json", "x" * 250 + ".json"],
)
def test_a_listing_that_lies(path: str) -> None:
    with pytest.raises(FetchError) as refused:
        _select(["config.json", "model.safetensors", path], LLAMA)
    assert refused.value.reason == FetchReason.MANIFEST_INVALID


def test_an_index_that_leads_elsewhere() -> None:
    with pytest.raises(FetchError, match="beside") as refused:
        _select(["config.json", "model.safetensors.index.json"], LLAMA, _index("../x.safetensors"))
    assert refused.value.reason == FetchReason.MANIFEST_INVALID


@pytest.mark.parametrize("size", [-1, -(1 << 60)])
def test_a_size_below_nothing(size: int) -> None:
    files = [RemoteFile("config.json", size), RemoteFile("model.safetensors", 5)]
    with pytest.raises(FetchError, match="bytes"):
        select(files, {"config.json": json.dumps(LLAMA).encode()})


def test_the_order_is_the_sources() -> None:
    paths = ["model.safetensors", "tokenizer.json", "1_Pooling/config.json", "config.json"]
    assert [file.path for file in _select([*NOISE, *paths], LLAMA).files] == paths


def test_a_path_twice() -> None:
    files = [RemoteFile("config.json", 5), RemoteFile("model.safetensors", 5)]
    found = select([*files, files[1]], {"config.json": b"{}"})
    assert [file.path for file in found.files] == ["config.json", "model.safetensors"]
