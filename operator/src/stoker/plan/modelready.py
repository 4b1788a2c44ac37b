"""Whether the model is there: the checks of `ModelReady`, in their order, and what others share."""

from collections.abc import Callable
from typing import Final

from stoker.model import reasons
from stoker.model.location import location_of
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
        spec = situation.spec
        models = spec is None or location_of(spec.model.uri)[0] == name
        remedy = "correct model.uri" if models else "ask who keeps the engine catalogue"
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


def _model_loaded(situation: Situation) -> Finding:
    if situation.state.ready == 0:
        return None
    return "True", Verdict(reasons.MODEL_LOADED, "A replica has loaded the model and answers.")


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


def _model_was_loaded(situation: Situation) -> Finding:
    if not situation.state.served:
        return None
    return "True", Verdict(reasons.MODEL_LOADED, "This revision has loaded the model before.")


def _model_unknown(_: Situation) -> Finding:
    return "Unknown", Verdict(reasons.MODEL_NOT_LOADED, "No replica has loaded the model yet.")


CHECKS: Final[tuple[Callable[[Situation], Finding], ...]] = (
    _model_refused,
    _model_loaded,
    claim,
    _model_broken,
    _model_was_loaded,
    _model_unknown,
)
