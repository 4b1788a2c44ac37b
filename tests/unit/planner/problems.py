"""What the planner's tests ask about: small helpers around public models and the catalogue."""

from typing import Any

from stoker.catalog.engines import EngineFeatures
from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Infeasible, Objective, Planned, Request
from stoker.planner.decide import plan
from stoker_worker.modelfacts import ModelFacts
from tests.support.families import FAMILIES

VERSION = "0.32.0"
GPUS: dict[str, Gpu] = builtin_gpus()
FEATURES: EngineFeatures = builtin_engines()["vllm"].at(VERSION)
LLAMA_8B = FAMILIES["llama-3.1-8b"].facts
LLAMA_70B = FAMILIES["llama-3.1-70b"].facts


def ask(facts: ModelFacts = LLAMA_8B, *types: str, **wishes: Any) -> Planned | Infeasible:
    """The answer for a model on accelerators (any, where none is named)."""
    if "objective" in wishes:
        wishes["objective"] = Objective(wishes["objective"])
    request = Request(accelerators=types, engine_version=VERSION, **wishes)
    return plan(request, facts, GPUS, FEATURES)


def planned(facts: ModelFacts = LLAMA_8B, *types: str, **wishes: Any) -> Planned:
    answer = ask(facts, *types, **wishes)
    assert isinstance(answer, Planned), answer
    return answer


def refused(facts: ModelFacts = LLAMA_8B, *types: str, **wishes: Any) -> Infeasible:
    answer = ask(facts, *types, **wishes)
    assert isinstance(answer, Infeasible), answer
    return answer


def technique(answer: Planned, name: str) -> tuple[str, str, str]:
    """State, reason and sentence of one technique."""
    (found,) = [each for each in answer.techniques if each.name == name]
    return found.state, found.reason, found.why
