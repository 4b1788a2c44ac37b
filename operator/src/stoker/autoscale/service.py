"""From what was observed to a scale decision: by load where the spec asks for it, else fixed."""

from collections.abc import Mapping

from stoker.autoscale.decision import decide
from stoker.autoscale.policy import policy_of
from stoker.autoscale.sample import sample_of
from stoker.model import reasons
from stoker.model.load import Load
from stoker.model.moment import Moment
from stoker.model.observed import Observed
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.model.scale import History, ScaleDecision


def decide_service(
    observed: Observed, load: Load | None, history: History, platform: Platform, now: Moment
) -> ScaleDecision:
    """How many replicas this service should have, over all its revisions."""
    sample = sample_of(observed, load)
    spec = observed.service.spec
    if spec is None:
        verdict = Verdict(
            reasons.INVALID_SPEC, "the spec cannot be read, so the number of replicas stays"
        )
        return ScaleDecision(sample.wanted or 0, verdict, activity=verdict)
    policy = policy_of(spec, platform, _planned(observed))
    if policy is not None:
        return decide(policy, history, sample, now)
    replicas = 1 if spec.replicas is None else spec.replicas
    source = "one replica by default" if spec.replicas is None else f"spec.replicas is {replicas}"
    verdict = Verdict(reasons.FIXED_REPLICAS, f"{source}; Stoker scales where spec.scaling is set")
    return ScaleDecision(replicas, verdict, activity=verdict)


def _planned(observed: Observed) -> int | None:
    """Requests that one replica computes at once by its plan."""
    plan = observed.service.status.get("plan")
    if not isinstance(plan, Mapping) or not isinstance(plan.get("maxNumSeqs"), int):
        return None
    copies = plan.get("data")
    return int(plan["maxNumSeqs"]) * (copies if isinstance(copies, int) else 1)
