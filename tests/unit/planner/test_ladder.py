"""The techniques one after the other."""

from stoker.model.sizing import Configuration, Request
from stoker.planner.decide import problem_of
from stoker.planner.ladder import Rung, ladder
from stoker_worker.modelfacts import ModelFacts
from tests.support.families import FAMILIES
from tests.unit.planner.problems import FEATURES, GPUS, LLAMA_8B, planned


def rungs(facts: ModelFacts, gpu: str) -> tuple[Rung, ...]:
    used: Configuration = planned(facts, gpu).configuration
    return ladder(problem_of(Request(accelerators=(gpu,)), facts, GPUS, FEATURES), used)


def test_each_rung_gains_and_says_what_it_costs() -> None:
    found = rungs(LLAMA_8B, "nvidia-l4")
    first, *others = [each for each in found if each.kept]
    assert first.candidate is not None
    assert first.candidate.configuration.max_num_seqs == 1
    assert others[0].technique == "batching"
    assert others[0].gain > 5
    rates = [
        each.candidate.expected.output_tokens_per_s.typical
        for each in found
        if each.kept and each.candidate
    ]
    assert rates == sorted(rates)
    names = [each.technique for each in found]
    assert names.index("fp8 weights") < names.index("4-bit weights (another checkpoint)")
    assert names.index("fp8 KV cache") < names.index("int4 KV cache")
    assert len(names) == len(set(names))
    assert [each.loss for each in found if each.kept] == sorted(
        each.loss for each in found if each.kept
    )


def test_what_cannot_be_had_is_told() -> None:
    found = {each.technique: each for each in rungs(LLAMA_8B, "nvidia-t4")}
    assert "fp8 KV cache" not in found  # int8 takes its place
    assert found["MTP speculation"].candidate is None
    assert not found["MTP speculation"].kept


def test_a_quantized_checkpoint_starts_as_it_is() -> None:
    found = rungs(FAMILIES["deepseek-v3"].facts, "nvidia-h200")
    assert found[0].technique.startswith("fp8 checkpoint")
    assert all("4-bit weights" not in each.technique for each in found)
