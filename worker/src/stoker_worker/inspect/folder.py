"""One model's folder in, its facts out, or the reason why there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from stoker_worker.inspect.adapters import CONFIG as ADAPTER_CONFIG
from stoker_worker.inspect.adapters import adapters_below
from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.facts import facts_of
from stoker_worker.inspect.files import names_in, read_object, unreadable
from stoker_worker.inspect.headers import Tensor
from stoker_worker.inspect.weights import tensors_in
from stoker_worker.model import check_model, chosen, pickles, pickles_alone
from stoker_worker.modelfacts import ModelFacts

_CONFIG = "config.json"
_GENERATION = "generation_config.json"
# Read where config.json has no quantization of its own, in this order.
_QUANTIZATION = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
# Sentence Transformers list the stages of an embedder here.
_STAGES = "modules.json"
_SHOWN = 8


def inspect_model(path: Path, *, allow_pickle: bool = False) -> ModelFacts:
    """Facts of the model in a folder.

    Reads configurations and the heads of weight files: how long it takes does not depend on the
    model's size. Raises `InspectError` with one of `FactsReason`'s words.

    Parameters
    ----------
    path
        The folder that holds config.json.
    allow_pickle
        Take weights in PyTorch's pickle format for what their sizes tell; they are never unpickled
        here, but an engine would.
    """
    try:
        return _inspect(path, allow_pickle=allow_pickle)
    except OSError as error:
        raise unreadable(path, error) from error


def _inspect(path: Path, *, allow_pickle: bool) -> ModelFacts:
    if path.suffix == ".gguf" and path.is_file():
        raise _gguf(path)
    if not path.is_dir():
        fault = check_model(path)
        raise InspectError(
            Reason.MODEL_NOT_FOUND, fault.message if fault else f"{path} is not a folder"
        )
    names = names_in(path)
    config = read_object(path / _CONFIG)
    if config is None:
        raise _no_config(path, names)
    read_object(path / _GENERATION)  # an engine reads it at start, and would fail there
    tensors, doubts = _weights(path, names, config, allow_pickle=allow_pickle)
    adapters, more = adapters_below(path)
    return facts_of(
        config,
        tensors,
        separate=_separate(path, config),
        adapters=adapters,
        embedder=_STAGES in names,
        warnings=[*doubts, *more],
    )


def _weights(
    path: Path, names: List[str], config: Mapping[str, Any], *, allow_pickle: bool
) -> Tuple[List[Tensor], List[str]]:
    if chosen(names) or "model.safetensors.index.json" in names:
        return tensors_in(path, names)
    found = pickles(names)
    if found and not allow_pickle:
        raise InspectError(Reason.PICKLE_WEIGHTS, pickles_alone(path, found))
    if found:
        from stoker_worker.inspect.pickled import tensors_of  # noqa: PLC0415 - rare, and zipfile

        doubt = "weights are pickles: parameters are estimated from the files' sizes"
        return tensors_of(path, found, config), [doubt]
    if any(name.endswith(".gguf") for name in names):
        raise _gguf(path)
    raise InspectError(
        Reason.WEIGHTS_MISSING,
        f"{path} holds no weights ({_few(names)}); check that the copy is complete: "
        "model.safetensors, or numbered files and their index",
    )


def _separate(path: Path, config: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    if config.get("quantization_config"):
        return None
    read = (read_object(path / name) for name in _QUANTIZATION)
    return next((each for each in read if each is not None), None)


def _no_config(path: Path, names: List[str]) -> InspectError:
    if any(name.endswith(".gguf") for name in names):
        return _gguf(path)
    if ADAPTER_CONFIG in names:
        base = (read_object(path / ADAPTER_CONFIG) or {}).get("base_model_name_or_path")
        what = f"it is an adapter of {str(base)[:80]!r}, not a model: name the base model's folder"
    elif "params.json" in names:
        what = "params.json is Mistral's own layout: use the layout with config.json"
    else:
        what = "check the model's path, and that the copy into the volume is complete"
    return InspectError(
        Reason.MODEL_CONFIG_MISSING, f"{path} has no config.json ({_few(names)}); {what}"
    )


def _gguf(path: Path) -> InspectError:
    return InspectError(
        Reason.GGUF_ONLY,
        f"{path} holds the model as GGUF alone, which no engine here loads and no plan is made "
        "for; use the model's safetensors files with config.json and tokenizer",
    )


def _few(names: List[str]) -> str:
    if not names:
        return "it is empty"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
