"""Rungs that save memory: weights in fewer bits, a pruned model, a smaller KV cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.techniques import planned
from benchmarks.techniques.client import closed
from benchmarks.techniques.rows import Row, change, times
from benchmarks.techniques.servers import KV_GIB, Server, vllm
from benchmarks.techniques.texts import alike
from e2e.models import FORMATS, PROMPTS, ensure_model, ensure_quantized

if TYPE_CHECKING:
    from pathlib import Path

_CLAIMS = {
    "int8": "weights \N{MINUS SIGN}50 %",
    "int4-gptq": "INT4: memory \N{MINUS SIGN}75 %, latency \N{MINUS SIGN}70 %",
    "int4-asymmetric": "INT4 (as AWQ stores it): memory \N{MINUS SIGN}75 %",
    "int4-int8": "INT4 weights, INT8 activations",
    "fp8": "latency \N{MINUS SIGN}50 % (on a GPU with FP8)",
    "pruned": "INT4 with pruning: memory \N{MINUS SIGN}70 %",
}
_KV = {
    "fp8": ("fp8", "2\N{MULTIPLICATION SIGN} the tokens"),
    "int8": (
        "int8_per_token_head",
        "memory \N{MINUS SIGN}50 %, concurrency 1.3\N{MULTIPLICATION SIGN}",
    ),
    "int4": ("int4_per_token_head", "memory \N{MINUS SIGN}75 %"),
}
_AT_ONCE = 16


def weights() -> list[Row]:
    """Every checkpoint that the backend runs, against the same one in bfloat16."""
    plain = ensure_model()
    checkpoints = {"bfloat16": plain}
    checkpoints |= {each.name: ensure_quantized() / each.name for each in FORMATS}
    found = {name: _weights_of(name, folder) for name, folder in checkpoints.items()}
    base = found["bfloat16"]
    rows = []
    for name, numbers in found.items():
        speed = " and ".join(
            times(numbers[key], base[key]) for key in ("tokensPerS1", "tokensPerS16")
        )
        less = change(numbers["bytes"], base["bytes"])
        measured = (
            f"{numbers['bytes'] / 2**20:.2f} MiB ({less}; linear layers "
            f"{change(numbers['linearBytes'], base['linearBytes'])}), {speed} tokens/s at 1 "
            f"and {_AT_ONCE}, {numbers['right']:.0f} of {len(PROMPTS)} answers right, "
            f"{times(numbers['kvTokens'], base['kvTokens'])} KV tokens"
        )
        plan = (
            f"{numbers['plannedBytes'] / 2**20:.2f} MiB "
            f"({change(numbers['plannedBytes'], base['plannedBytes'])}), "
            f"{times(numbers['plannedTokensPerS16'], base['plannedTokensPerS16'])} tokens/s at "
            f"{_AT_ONCE}, {times(numbers['plannedKvTokens'], base['plannedKvTokens'])} KV tokens"
        )
        rows.append(Row(f"weights: {name}", _CLAIMS.get(name, ""), measured, plan, numbers))
    return rows


def _weights_of(name: str, folder: Path) -> dict[str, float]:
    total, linear = tensor_bytes(folder)
    found = planned.stored(folder)
    memory = planned.memory(folder, quantization=found)
    at_once = planned.expected(folder, _AT_ONCE, quantization=found)
    with vllm(f"weights {name}", folder) as server:
        return {
            "bytes": total,
            "linearBytes": linear,
            "right": right_answers(server),
            "tokensPerS1": speed(server, 1),
            "tokensPerS16": speed(server, _AT_ONCE),
            "kvTokens": server.kv_tokens(),
            "startS": server.start_s,
            "plannedBytes": memory.weights,
            "plannedKvTokens": memory.kv_tokens,
            "plannedTokensPerS16": at_once.output_tokens_per_s.typical,
        }


def kv_cache() -> list[Row]:
    """The same memory in other types: what the engine says that it holds."""
    model = ensure_model()
    with vllm("KV bfloat16", model) as server:
        base, base_speed = server.kv_tokens(), speed(server, _AT_ONCE)
    plain = planned.memory(model).kv_tokens
    both = {"kvTokens": base, "plannedKvTokens": plain, "tokensPerS16": base_speed}
    said = f"{base:,} tokens in {KV_GIB} GiB"
    rows = [Row("KV cache: bfloat16", "", said, f"{plain:,} tokens", both)]
    for name, (word, claim) in _KV.items():
        with vllm(f"KV {name}", model, {"kv-cache-dtype": word}) as server:
            tokens, fast = server.kv_tokens(), speed(server, _AT_ONCE)
            right = right_answers(server)
        plan = planned.memory(model, kv_dtype=name).kv_tokens
        measured = (
            f"{times(tokens, base)} tokens ({tokens:,}), {times(fast, base_speed)} tokens/s at "
            f"{_AT_ONCE}, {right} of {len(PROMPTS)} answers right"
        )
        numbers = {
            "kvTokens": tokens,
            "plannedKvTokens": plan,
            "tokensPerS16": fast,
            "right": right,
        }
        rows.append(
            Row(f"KV cache: {name}", claim, measured, f"{times(plan, plain)} ({plan:,})", numbers)
        )
    return rows


def tensor_bytes(folder: Path) -> tuple[int, int]:
    """Bytes of all tensors of a checkpoint, and of its linear layers with their scales."""
    total = linear = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as content:
            header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            begin, end = tensor["data_offsets"]
            total += end - begin
            linear += (end - begin) * ("_proj." in name)
    return total, linear


def speed(server: Server, at_once: int) -> float:
    """Tokens per second, after a warm-up."""
    closed(server, alike(at_once, 16), at_once)
    return closed(server, alike(max(4, 4 * at_once), 128), at_once).tokens_per_s


def right_answers(server: Server) -> int:
    """Of the prompts whose continuation the model knows."""
    asks = [
        type(ask)(prompt.text, 24)
        for ask, prompt in zip(alike(len(PROMPTS), 24), PROMPTS, strict=True)
    ]
    answers = closed(server, asks, 1).answers
    return sum(
        answer.text.strip().startswith(prompt.continuation)
        for answer, prompt in zip(answers, PROMPTS, strict=True)
    )
