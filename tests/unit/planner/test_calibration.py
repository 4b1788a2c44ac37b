"""Which measurement is taken for what, and what a running engine teaches."""

from dataclasses import replace

import pytest

from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import Configuration
from stoker.planner.calibration import (
    Calibration,
    Entry,
    Residual,
    builtin_entries,
    builtin_eras,
    calibration_of,
    corrected,
    way_of,
)
from tests.support.families import FAMILIES

LLAMA = FAMILIES["llama-3.1-8b"].facts
QWEN = FAMILIES["qwen2.5-7b"].facts
EXPERTS = FAMILIES["qwen3-30b-a3b"].facts
GPUS = builtin_gpus()
H100 = GPUS["nvidia-h100-80gb"]


def entry(**changes: object) -> Entry:
    base = Entry(
        source="here",
        gpu=H100.name,
        capability=(9, 0),
        intensity=295.0,
        engine=(0, 32),
        architecture="LlamaForCausalLM",
        moe=False,
        values={"mfu": 0.5, "mbu_weights": 0.7},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_the_nearest_entry_is_taken() -> None:
    entries = [
        entry(),
        entry(source="other engine", engine=(0, 30), values={"mbu_weights": 0.6}),
        entry(source="other GPU", gpu="x", values={"mbu_weights": 0.3}),
    ]
    found = calibration_of(H100, LLAMA, "0.32.1", entries)
    assert found.mbu_weights == 0.7
    assert found.source == "here"


def test_another_architecture_takes_the_mean_of_its_gpu() -> None:
    entries = [entry(values={"mbu_weights": 0.5}), entry(values={"mbu_weights": 0.72})]
    found = calibration_of(H100, QWEN, "0.32", entries)
    assert found.mbu_weights == pytest.approx(0.6)  # geometric


def test_another_gpu_counts_the_default_as_one_entry() -> None:
    entries = [entry(gpu="x", capability=(8, 9), values={"mbu_weights": 0.5})]
    found = calibration_of(H100, LLAMA, "0.32", entries)
    assert found.mbu_weights == pytest.approx((0.5 * Calibration().mbu_weights) ** 0.5)


def test_more_operations_per_byte_mean_a_smaller_share_of_them() -> None:
    entries = [entry(values={"mfu": 0.5})]
    slow = replace(H100, name="x", bandwidth=H100.bandwidth * 2)
    fast = replace(H100, name="x", bandwidth=H100.bandwidth / 2)
    assert (
        calibration_of(slow, LLAMA, "", entries).mfu > calibration_of(fast, LLAMA, "", entries).mfu
    )


def test_an_engine_of_another_age_teaches_nothing() -> None:
    entries = [entry(engine=(0, 2), values={"host_layer_s": 0.001})]
    assert calibration_of(H100, LLAMA, "0.32", entries).host_layer_s == 0
    assert calibration_of(H100, LLAMA, "0.2.7", entries).host_layer_s == pytest.approx(0.001)


def test_a_dense_model_does_not_learn_from_experts_how_it_multiplies() -> None:
    entries = [entry(moe=True, architecture="X", values={"mfu": 0.2})]
    assert calibration_of(H100, LLAMA, "", entries).mfu == Calibration().mfu
    assert calibration_of(H100, EXPERTS, "", [entry()]).mfu < 0.5


@pytest.mark.parametrize(
    ("nearer", "farther"),
    [
        (("nvidia-rtx-4090", LLAMA), ("nvidia-rtx-4090", QWEN)),
        (("nvidia-rtx-4090", QWEN), ("nvidia-l4", QWEN)),
        (("nvidia-l4", QWEN), ("nvidia-t4", QWEN)),
        (("nvidia-t4", QWEN), ("amd-mi300x", QWEN)),
        (("amd-mi300x", QWEN), ("amd-mi300x", replace(QWEN, known=False))),
    ],
)
def test_the_farther_the_wider(nearer: tuple[str, object], farther: tuple[str, object]) -> None:
    near, far = (
        calibration_of(GPUS[gpu], facts, "0.19")  # type: ignore[arg-type]
        for gpu, facts in (nearer, farther)
    )
    assert near.spread < far.spread


def test_nothing_is_known_without_entries() -> None:
    found = calibration_of(H100, LLAMA, "", [])
    assert found.source == "defaults"
    assert found.mfu == Calibration().mfu
    assert found.spread == 0.5


def test_an_unknown_architecture_keeps_a_reserve() -> None:
    assert calibration_of(H100, replace(LLAMA, known=False)).reserve > 0
    assert calibration_of(H100, LLAMA).reserve == 0


@pytest.mark.parametrize(
    ("version", "graphs", "logits"),
    [("0.15.0", False, 38.5), ("0.19", False, 15.3), ("v0.32.0", True, 15.3), ("", True, 15.3)],
)
def test_engines_divide_memory_by_their_age(version: str, graphs: bool, logits: float) -> None:  # noqa: FBT001
    found = calibration_of(H100, LLAMA, version)
    assert bool(found.graphs) == graphs
    assert found.logit_bytes == logits


def test_the_package_s_own_data() -> None:
    assert {each.gpu for each in builtin_entries()} <= set(GPUS)
    for each in builtin_entries():
        gpu = GPUS[each.gpu]
        assert each.capability == gpu.compute_capability
        assert each.intensity == pytest.approx(gpu.flops["bfloat16"] / gpu.bandwidth, rel=0.02)
        assert all(0 < each.values[name] <= 1 for name in each.values if name.startswith("mb"))
    assert [each.since for each in builtin_eras()] == sorted(each.since for each in builtin_eras())


def test_what_was_seen_narrows_the_range() -> None:
    wide = calibration_of(GPUS["amd-mi300x"], LLAMA)
    assert corrected(wide, Residual(ttft=1.1, itl=0.9)).spread < wide.spread
    assert corrected(wide, Residual(kv=0.9)).spread == wide.spread


def test_a_way_that_was_seen_is_corrected_by_itself_and_others_like_the_last() -> None:
    seen = Configuration("nvidia-l4", tensor=2)
    other = Configuration("nvidia-l4", tensor=4)
    known = {way_of(seen): Residual(kv=0.8), ("1x1x1", "none", "auto"): Residual(itl=1.5)}
    found = corrected(calibration_of(GPUS["nvidia-l4"], LLAMA), Residual(kv=0.7), known)
    assert found.residual_of(seen) == Residual(kv=0.8)
    assert found.residual_of(replace(seen, max_num_seqs=7)) == Residual(kv=0.8)
    assert found.residual_of(other) == Residual(kv=0.7)
    assert found.residual_of(replace(seen, kv_dtype="fp8")) == Residual(kv=0.7)
