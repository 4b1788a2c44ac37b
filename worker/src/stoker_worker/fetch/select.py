"""Which of a source's files an engine needs.

A repository holds a model several times over: safetensors beside pickles, Mistral's own layout,
ONNX, GGUF in ten widths. The choice is the one that the engine will make in the folder: an index
names its shards; else every safetensors file that is not the same weights under a second name.
Beside the weights go configurations, tokenizer, processors, chat templates, adapters and the
stages of embedders. Everything else stays where it is.

Two small files decide (`to_read`), so the job reads those first and hands their text in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.inspect.structure import find
from stoker_worker.manifest import MAX_FILES, clash_among, path_fault
from stoker_worker.model import SUFFIX, chosen, pickles

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
PARAMS = "params.json"  # Mistral's own configuration
ADAPTER_CONFIG = "adapter_config.json"
# An index of a thousand shards has some megabytes.
MOST_TEXT = 64 << 20

_PICKLE_INDEX = "pytorch_model.bin.index.json"
# What an engine reads at the top of a folder.
_TOP = re.compile(
    r".*\.(jinja|tiktoken)"
    r"|.*\.model(\.v\d+\w*)?"  # SentencePiece
    r"|(vocab|merges|dict)[^/]*\.txt|bpe\.codes"
)
# JSON that trainers and other frameworks leave; any other JSON is small, and some engine reads it.
_NO_JSON = re.compile(
    r".*\.index\.json|(trainer_state|all_results|train_results|eval_results|model_index"
    r"|params|consolidated).*\.json|.*onnx.*\.json|openvino.*\.json",
    re.IGNORECASE,
)
_STAGE = re.compile(r"\d+_\w+")  # of an embedder: 1_Pooling, 2_Dense
_TEMPLATES = "additional_chat_templates"
_ADAPTER_WEIGHTS = re.compile(r"(adapter_model|new_embeddings)[^/]*\.safetensors")
_ADAPTER_PICKLES = re.compile(r"(adapter_model|new_embeddings)[^/]*\.(bin|pt)")
_ADAPTER_DEPTH = 2
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be fetched, and what is not."""

    files: tuple[RemoteFile, ...]  # in the source's order
    left_out: int  # files that no engine needs
    left_bytes: int

    @property
    def bytes(self) -> int:
        """Of all files that are to be fetched."""
        return sum(file.size for file in self.files)


def to_read(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """The files whose text decides about the others."""
    return [file for file in files if file.path in {CONFIG, INDEX}]


def select(
    files: Sequence[RemoteFile],
    texts: Mapping[str, bytes],
    *,
    allow_pickle: bool = False,
    allow_code: bool = False,
) -> Selection:
    """Choose; raises FetchError (NoModel, PickleWeights, RemoteCode, ManifestInvalid).

    Parameters
    ----------
    texts
        What `to_read` asked for, by path.
    allow_pickle
        Take weights in PyTorch's own format where there are no others.
    allow_code
        Take the model's own Python.
    """
    _refuse_escapes(files)
    usable = {file.path: file for file in files if not _hidden(file.path)}
    top = sorted(path for path in usable if "/" not in path)
    names = _weights(top, texts, allow_pickle=allow_pickle)
    names |= _beside(top, mistral=CONFIG not in top)
    names |= _code(top, texts, allow_code=allow_code)
    names |= _below(sorted(usable), allow_pickle=allow_pickle)
    selected = tuple(file for path, file in usable.items() if path in names)
    _refuse_lies(selected)
    left = [file for file in files if file.path not in names]
    return Selection(selected, len(left), sum(max(0, file.size) for file in left))


def _hidden(path: str) -> bool:
    return any(name.startswith(".") for name in path.split("/"))


def _refuse_escapes(files: Iterable[RemoteFile]) -> None:
    """A source that lists such a path means harm, wanted or not."""
    for file in files:
        if file.path.startswith("/") or ".." in file.path.split("/"):
            raise _lie(f"{file.path!r:.120}, which leads out of its folder")


def _refuse_lies(files: Sequence[RemoteFile]) -> None:
    for file in files:
        fault = path_fault(file.path)
        if fault:
            raise _lie(f"{file.path!r:.120}, which {fault}")
        if file.size < 0:
            raise _lie(f"{file.path!r:.120} with {file.size} bytes")
    if len(files) > MAX_FILES:
        raise _lie(f"{len(files)} files of a model, more than {MAX_FILES}")
    clash = clash_among([file.path for file in files])
    if clash:
        raise FetchError(FetchReason.MANIFEST_INVALID, f"the source's listing {clash}")


def _lie(what: str) -> FetchError:
    return FetchError(
        FetchReason.MANIFEST_INVALID, f"the source lists {what}; nothing of it is fetched"
    )


def _weights(top: Sequence[str], texts: Mapping[str, bytes], *, allow_pickle: bool) -> set[str]:
    if CONFIG not in top and PARAMS not in top:
        return _adapter_alone(top)
    if INDEX in top and INDEX in texts:
        return _indexed(top, texts[INDEX])
    own = chosen(top)
    if own:
        return set(own)
    found = pickles(top)
    if found and allow_pickle:
        return {*found, *({_PICKLE_INDEX} & set(top))}
    if found:
        raise FetchError(
            FetchReason.PICKLE_WEIGHTS,
            f"the source holds weights as pickles alone ({_few(found)}), and a pickle runs code "
            "when it is read; take a source with safetensors, or have the administrator allow "
            "pickles (models.allowPickle in the values of Stoker's chart)",
        )
    raise _no_weights(top)


def _indexed(top: Sequence[str], text: bytes) -> set[str]:
    mapped = _object(text, INDEX).get("weight_map")
    if not isinstance(mapped, dict) or not mapped:
        raise FetchError(FetchReason.NO_MODEL, f"the source's {INDEX} has no weight_map")
    shards = {str(shard) for shard in mapped.values()}
    foreign = sorted(shard for shard in shards if "/" in shard or not shard.endswith(SUFFIX))
    if foreign:
        raise FetchError(
            FetchReason.MANIFEST_INVALID,
            f"the source's {INDEX} names {foreign[0]!r:.120}, which is no safetensors file beside "
            "it",
        )
    missing = sorted(shards - set(top))
    if missing:
        raise FetchError(
            FetchReason.NO_MODEL,
            f"the source's {INDEX} names {missing[0]!r:.120}, which the source does not have "
            f"({len(missing)} of {len(shards)} files are missing); wait until its upload is "
            "complete, or name another revision",
        )
    return shards | {INDEX}


def _adapter_alone(top: Sequence[str]) -> set[str]:
    """A source that is an adapter, to be put beside its model."""
    weights = {name for name in top if _ADAPTER_WEIGHTS.fullmatch(name)}
    if ADAPTER_CONFIG in top and weights:
        return weights
    raise _no_weights(top)


def _no_weights(top: Sequence[str]) -> FetchError:
    if any(name.endswith(".gguf") for name in top):
        text = (
            "the source holds the model as GGUF alone, which no engine here loads; take a source "
            "with safetensors"
        )
    elif "model_index.json" in top:
        text = "the source is a pipeline of Diffusers, which no engine here loads"
    elif CONFIG not in top:
        text = (
            f"the source has no {CONFIG} ({_few(top)}); check that the address leads to the "
            "folder of a model"
        )
    else:
        text = (
            f"the source holds no weights that an engine loads ({_few(top)}); take one with "
            "safetensors files"
        )
    return FetchError(FetchReason.NO_MODEL, text)


def _beside(top: Iterable[str], *, mistral: bool) -> set[str]:
    taken = {name for name in top if _TOP.fullmatch(name)}
    taken |= {name for name in top if name.endswith(".json") and not _NO_JSON.fullmatch(name)}
    # Beside another configuration it would have engines look for weights that were left out.
    return taken | ({PARAMS} & set(top) if mistral else set())


def _code(top: Sequence[str], texts: Mapping[str, bytes], *, allow_code: bool) -> set[str]:
    code = {name for name in top if name.endswith(".py")}
    config = _object(texts[CONFIG], CONFIG) if CONFIG in texts else {}
    if allow_code:
        return code
    if not config.get("auto_map") or find(config) is not None:
        return set()  # an architecture that engines know needs no code of the model's
    named = config.get("architectures")
    raise FetchError(
        FetchReason.REMOTE_CODE,
        f"{CONFIG} asks for code of the model's own (auto_map) for architecture "
        f"{str(named)[:120]}, which engines do not know; take a model of an architecture that "
        "vLLM implements, or have the administrator allow such code",
    )


def _below(paths: Iterable[str], *, allow_pickle: bool) -> set[str]:
    """From folders below the model's: adapters, stages of an embedder, chat templates."""
    listed = set(paths)
    weights = {path for path in listed if _is_adapter(path, allow_pickle=allow_pickle)}
    adapters = {path.rpartition("/")[0] for path in weights}
    taken = set()
    for path in listed:
        folder, _, name = path.rpartition("/")
        if folder in adapters and f"{folder}/{ADAPTER_CONFIG}" in listed:
            if name == ADAPTER_CONFIG or path in weights:
                taken.add(path)
        elif _STAGE.fullmatch(folder):
            if name.endswith((".json", SUFFIX)) or (allow_pickle and name.endswith(".bin")):
                taken.add(path)
        elif folder == _TEMPLATES and name.endswith(".jinja"):
            taken.add(path)
    return taken


def _is_adapter(path: str, *, allow_pickle: bool) -> bool:
    if not 0 < path.count("/") <= _ADAPTER_DEPTH:
        return False
    name = path.rpartition("/")[2]
    if _ADAPTER_WEIGHTS.fullmatch(name):
        return True
    return allow_pickle and _ADAPTER_PICKLES.fullmatch(name) is not None


def _object(text: bytes, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FetchError(
            FetchReason.NO_MODEL, f"the source's {name} is not JSON: {str(error)[:120]}"
        ) from error
    if not isinstance(parsed, dict):
        raise FetchError(FetchReason.NO_MODEL, f"the source's {name} holds no JSON object")
    return parsed


def _few(names: Sequence[str]) -> str:
    if not names:
        return "it is empty"
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
