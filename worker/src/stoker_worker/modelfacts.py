"""What a model is, in at most three kilobytes: the second half of the worker's contract.

`stoker_worker.inspect` reads these facts from a model's folder, a pod's termination message carries
them, and the operator's planner works with nothing else. Facts are about the model alone: no GPU,
no engine, no choice. All sizes are of the whole model, before any sharding.

Compact JSON; absent means the default. A reader refuses another version and ignores keys that it
does not know. Layers travel as the distinct kinds of layers, named a, b, c …, and their order as
run lengths: `{"kinds": [{…}, {…}], "order": "5ab5ab"}` is five of the first, one of the second, and
both again. That way no order takes more than a character per layer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, replace
from string import ascii_lowercase
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

FACTS_VERSION = 1
# A termination message holds 4,096 bytes; the rest is for what the worker adds around the facts.
MAX_BYTES = 3072

# Kinds of layers, by what each keeps per token or per request.
FULL = "full"  # 2 · kv_heads · head_dim values per token
SLIDING = "sliding"  # the same, for the last `window` tokens only
LATENT = "latent"  # MLA: `latent` values per token, on every tensor parallel rank
STATE = "state"  # state-space or linear attention: `state_values` per request, however long
NONE = "none"  # no memory of its own (feed-forward only, encoder layers)
KINDS = (FULL, SLIDING, LATENT, STATE, NONE)


class FactsError(ValueError):
    """A text that does not hold facts; says what is wrong."""


@dataclass(frozen=True)
class Layers:
    """A run of equal layers, in the model's order."""

    count: int
    kind: str
    kv_heads: int = 0
    head_dim: int = 0  # of keys
    value_dim: int = 0  # of values; 0: as of keys
    window: int = 0  # tokens that a sliding or chunked layer keeps
    latent: int = 0  # kv_lora_rank + qk_rope_head_dim
    state_values: int = 0  # per request and layer


@dataclass(frozen=True)
class Quantization:
    """How the checkpoint's weights are stored, as its own configuration says."""

    method: str  # fp8, int8, awq, gptq, compressed-tensors, bitsandbytes, mxfp4, …
    bits: int  # per weight
    group: int = 0  # weights that share a scale; 0: one scale per channel or tensor
    activation_bits: int = 16
    floating: bool = False  # the low-precision values are floating point (fp8, fp4), not integers
    kv_dtype: Optional[str] = None  # a KV-cache scheme that the checkpoint carries
    sparse: bool = False  # a sparsity_config that names layers
    static: bool = False  # the checkpoint carries the scales of activations


@dataclass(frozen=True)
class ModelFacts:
    """Everything that a plan needs to know of a model."""

    digest: str  # sha256 over configuration and headers: equal digests, equal plans
    architecture: str  # the first of `architectures`
    model_type: str
    dtype: str  # of computation as the model asks: bfloat16, float16, float32
    hidden: int
    heads: int  # query heads
    vocab: int
    max_positions: int
    layers: Tuple[Layers, ...]
    parameters: int  # all of them, quantized or not, without a draft head
    embedding_parameters: int  # input embedding, and the output head where it is not tied
    weight_bytes: int  # of the tensors in the files
    bytes_by_dtype: Mapping[str, int] = field(default_factory=dict)  # safetensors' names
    known: bool = True  # False: the architecture is not known, sizes come from tensor shapes alone
    task: str = "generate"  # generate, embed
    tied_embeddings: bool = False
    intermediate: int = 0  # width of a dense layer's MLP
    experts: int = 0  # routed experts per layer; 0: dense
    experts_active: int = 0  # routed experts that one token meets
    expert_parameters: int = 0  # of all routed experts of all layers
    expert_bytes: int = 0  # of `weight_bytes`, those of routed experts, scales included
    draft_layers: int = 0  # multi-token-prediction layers that the checkpoint carries
    draft_parameters: int = 0
    draft_bytes: int = 0  # of `weight_bytes`, those of the draft head
    quantization: Optional[Quantization] = None
    adapters: Tuple[Tuple[str, int, int], ...] = ()  # name, rank, bytes
    warnings: Tuple[str, ...] = ()  # what the reader was not sure of, for people

    @property
    def layer_count(self) -> int:
        """Layers of all kinds."""
        return sum(run.count for run in self.layers)

    @property
    def kv_heads(self) -> int:
        """KV heads of the layers that have any (the largest number); 0 for none."""
        return max((run.kv_heads for run in self.layers), default=0)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: all but the routed experts that it does not."""
        if not self.experts:
            return self.parameters
        share = self.experts_active / self.experts
        return int(self.parameters - self.expert_parameters * (1 - share))


def to_json(facts: ModelFacts) -> str:
    """Compact text; `FactsError` when it would not fit a termination message."""
    text = json.dumps({"v": FACTS_VERSION, **_compact(facts)}, separators=(",", ":"))
    if len(text.encode()) > MAX_BYTES:
        raise FactsError(f"the facts take {len(text.encode())} bytes, more than {MAX_BYTES}")
    return text


def from_json(text: str) -> ModelFacts:
    """Facts from their text; `FactsError` says what is wrong with it."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise FactsError(f"not JSON: {error}") from error
    return from_dict(data)


def from_dict(data: object) -> ModelFacts:
    """Facts from the value that JSON gave; layers as `to_dict` writes them or as a list of runs."""
    if not isinstance(data, dict):
        raise FactsError("not a JSON object")
    if data.get("v") != FACTS_VERSION:
        raise FactsError(f"version {data.get('v')!r} is not {FACTS_VERSION}")
    try:
        given = _known(ModelFacts, data)
        given["layers"] = _runs(data.get("layers", ()))
        if given.get("quantization") is not None:
            given["quantization"] = Quantization(**_known(Quantization, given["quantization"]))
        given["adapters"] = tuple((str(n), int(r), int(b)) for n, r, b in data.get("adapters", ()))
        sizes = given.get("bytes_by_dtype", {})
        if not isinstance(sizes, dict) or any(type(each) is not int for each in sizes.values()):
            raise FactsError(f"bytes_by_dtype is {sizes!r}, which is no table of sizes")
        given["warnings"] = tuple(str(each) for each in data.get("warnings", ()))
        return ModelFacts(**given)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise FactsError(f"not facts: {error}") from error


def to_dict(facts: ModelFacts) -> Dict[str, Any]:
    """The value that `from_dict` reads, version included."""
    return {"v": FACTS_VERSION, **_compact(facts)}


def to_message(facts: ModelFacts) -> str:
    """What the `facts` command leaves as its termination message."""
    return f'{{"facts":{to_json(facts)}}}'


def from_message(text: str) -> Optional[ModelFacts]:
    """Facts from a termination message; None where it is another one, `FactsError` where bad."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return from_dict(data["facts"]) if isinstance(data, dict) and "facts" in data else None


def merged(layers: Iterable[Layers]) -> Tuple[Layers, ...]:
    """Neighbours that are equal but for their count become one run."""
    runs: List[Layers] = []
    for run in layers:
        if runs and replace(runs[-1], count=run.count) == run:
            runs[-1] = replace(run, count=runs[-1].count + run.count)
        elif run.count:
            runs.append(run)
    return tuple(runs)


def _compact(value: Any) -> Dict[str, Any]:  # noqa: ANN401 - any of the dataclasses above
    """Fields that differ from their default."""
    found: Dict[str, Any] = {}
    for each in fields(value):
        item = getattr(value, each.name)
        if item == each.default or item in ((), {}):
            continue
        if each.name == "layers":
            item = _ordered(item)
        elif each.name == "quantization":
            item = _compact(item)
        elif each.name == "bytes_by_dtype":
            item = dict(item)
        found[each.name] = item
    return found


def _ordered(runs: Tuple[Layers, ...]) -> Dict[str, Any]:
    kinds: List[Layers] = []
    order: List[str] = []
    for run in merged(runs):
        kind = replace(run, count=1)
        if kind not in kinds:
            kinds.append(kind)
        if len(kinds) > len(ascii_lowercase):
            raise FactsError(f"more than {len(ascii_lowercase)} kinds of layers")
        number = str(run.count) if run.count > 1 else ""
        order.append(number + ascii_lowercase[kinds.index(kind)])
    shapes = [{k: v for k, v in _compact(kind).items() if k != "count"} for kind in kinds]
    return {"kinds": shapes, "order": "".join(order)}


def _runs(data: Any) -> Tuple[Layers, ...]:  # noqa: ANN401 - whatever JSON held
    if not isinstance(data, dict):
        return tuple(_layers(run) for run in data)
    kinds = [_layers({"count": 1, **kind}) for kind in data["kinds"]]
    order = str(data["order"])
    if not re.fullmatch(r"([0-9]{0,4}[a-z])*", order):
        raise FactsError(f"{order!r} is no order of layers")
    runs = []
    for number, letter in re.findall(r"([0-9]*)([a-z])", order):
        index = ascii_lowercase.index(letter)
        if index >= len(kinds):
            raise FactsError(
                f"layers of kind {letter!r}, which is not among the {len(kinds)} kinds"
            )
        runs.append(replace(kinds[index], count=int(number or "1")))
    return tuple(runs)


def _layers(data: Any) -> Layers:  # noqa: ANN401 - whatever JSON held
    run = Layers(**_known(Layers, data))
    if run.kind not in KINDS:
        raise FactsError(f"layers of kind {run.kind!r}; known: {', '.join(KINDS)}")
    return run


def _known(cls: Any, data: Mapping[str, Any]) -> Dict[str, Any]:  # noqa: ANN401 - a dataclass
    """The fields of the class among the data; what is annotated as a number has to be one."""
    given = {}
    for each in fields(cls):
        if each.name not in data:
            continue
        value = data[each.name]
        wanted = _PLAIN.get(str(each.type))
        # A bool is an int to Python, but not to those who compute with it.
        if wanted and (
            not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool)
        ):
            raise FactsError(f"{each.name} is {value!r}, which is no {each.type}")
        if wanted is int and value < 0:
            raise FactsError(f"{each.name} is {value}, less than nothing")
        given[each.name] = value
    return given


_PLAIN: Mapping[str, type] = {"int": int, "str": str, "bool": bool}
