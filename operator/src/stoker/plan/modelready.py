"""Whether the model is there: the checks of `ModelReady`, in their order, and what others share."""

from collections.abc import Callable
from typing import Final

from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.plan.situation import Finding, Situation


def cannot_be_planned(situation: Situation) -> Finding:
    """Why nothing new runs before somebody changes something."""
    problem = situation.planning.problem if situation.planning is not None else None
    return None if problem is None else ("False", problem)


def claim(situation: Situation) -> Finding:
    """The first claim that cannot be mounted."""
    problem = situation.claim_problem
    if problem is None:
        return None
    name, phase = problem
    if phase is None:
        location = situation.observed.location
        models = location is not None and location.claim == name
        remedy = "correct model.uri" if models else "ask who keeps the engine catalogue"
        if models and location is not None and location.cache is not None:
            remedy = f"look at ModelCache {location.cache}, whose claim it is"
        return "False", Verdict(
            reasons.CLAIM_NOT_FOUND,
            f"There is no PersistentVolumeClaim {name} in namespace "
            f"{situation.observed.service.key.namespace}: create it, or {remedy}.",
        )
    return "False", Verdict(
        reasons.CLAIM_NOT_BOUND,
        f"PersistentVolumeClaim {name} is {phase}: no volume backs it yet; see kubectl describe "
        f"pvc {name}.",
    )


def _model_refused(situation: Situation) -> Finding:
    planning = situation.planning
    if planning is None or planning.reading is None or not planning.reading.failed:
        return None
    return cannot_be_planned(situation)


def _cache_has_none(situation: Situation) -> Finding:
    observed = situation.observed
    if observed.cache is None or observed.location is not None:
        return None
    return "False", observed.cache.verdict


def _model_loaded(situation: Situation) -> Finding:
    if situation.state.ready == 0:
        return None
    said = "A replica has loaded the model and answers."
    return "True", Verdict(reasons.MODEL_LOADED, f"{said}{_what_of_the_cache(situation)}")


def _what_of_the_cache(situation: Situation) -> str:
    """What is wrong with the cache of a model that is served all the same."""
    cache = situation.observed.cache
    if cache is None or cache.problem is None:
        return ""
    return f" What was cached stays in use. {cache.verdict.message}"


_OF_THE_MODEL: Final = frozenset(
    {
        reasons.MODEL_NOT_FOUND,
        reasons.MODEL_INVALID,
        reasons.MODEL_CORRUPT,
        reasons.PICKLE_WEIGHTS,
    }
)


def _model_broken(situation: Situation) -> Finding:
    failure = situation.failure
    if failure is None or failure.reason not in _OF_THE_MODEL:
        return None
    return "False", failure


def awaited(situation: Situation) -> Finding:
    """A pod whose node does not have the model yet."""
    waits = next((pod for pod in situation.mine if pod.awaits_model and not pod.deleting), None)
    if waits is None:
        return None
    cache = situation.observed.cache
    name = "its ModelCache" if cache is None else f"ModelCache {cache.name}"
    return "False", Verdict(
        reasons.WAITING_FOR_MODEL,
        f"Pod {waits.name} waits until {name} has filled node {waits.node}; see kubectl get mc.",
    )


def _model_was_loaded(situation: Situation) -> Finding:
    if not situation.state.served:
        return None
    return "True", Verdict(reasons.MODEL_LOADED, "This revision has loaded the model before.")


def _model_unknown(_: Situation) -> Finding:
    return "Unknown", Verdict(reasons.MODEL_NOT_LOADED, "No replica has loaded the model yet.")


CHECKS: Final[tuple[Callable[[Situation], Finding], ...]] = (
    _cache_has_none,
    _model_refused,
    _model_loaded,
    claim,
    _model_broken,
    awaited,
    _model_was_loaded,
    _model_unknown,
)
