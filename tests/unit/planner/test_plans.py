"""Plans of public models on usual accelerators, as one readable table."""

import os
from itertools import product
from pathlib import Path

from stoker.model.sizing import Infeasible, Objective, Planned
from stoker.planner import words
from tests.support.families import FAMILIES
from tests.unit.planner.problems import ask

GOLDEN = Path(__file__).parents[2] / "golden" / "planner" / "plans.txt"
MODELS = (
    "llama-3.1-8b",
    "llama-3.1-70b",
    "qwen3-30b-a3b",
    "deepseek-v3",
    "gemma-3-27b",
    "gpt-oss-20b",
    "nemotron-h-8b",
    "bge-large-en",
)
TYPES = (
    "nvidia-t4",
    "nvidia-l4",
    "nvidia-rtx-4090",
    "nvidia-a100-80gb",
    "nvidia-h100-80gb",
    "amd-mi300x",
)


def test_golden_plans() -> None:
    lines = []
    for model, gpu in product(MODELS, TYPES):
        lines.append(f"{model} on {gpu}")
        lines += [
            f"  {objective.value:<12} {_line(ask(FAMILIES[model].facts, gpu, objective=objective))}"
            for objective in Objective
        ]
    text = "\n".join(lines) + "\n"
    if os.environ.get("STOKER_UPDATE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text, "STOKER_UPDATE_GOLDEN=1 rewrites plans.txt"


def _line(answer: Planned | Infeasible) -> str:
    if isinstance(answer, Infeasible):
        best = answer.remedies[0].change if answer.remedies else "nothing helps"
        return f"{answer.verdict.reason} {answer.shortage_gib:g} GiB; {best}"
    used, expected = answer.configuration, answer.expected
    cut = f"{used.tensor}x{used.pipeline}x{used.data}"
    stored = f"{used.quantization}/{used.kv_dtype}/{used.dtype}"
    load = f"{used.max_model_len} tokens, {answer.concurrency} of {used.max_num_seqs} at once"
    pace = f"{words.seconds(expected.itl_s.typical)} per token"
    drafts = f", {used.speculation} to {used.speculative_until}" if used.speculative_tokens else ""
    price = words.dollars(expected.price_per_hour)
    return f"{cut} {stored}, {load}, {pace}, {price}{drafts}"
