"""What of a spec a plan cannot keep, as only the plan tells: groups, memory, money."""

from collections.abc import Mapping
from typing import Any

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.model.replica import Replica
from stoker.plan import budget, groups, staging


def refuse(
    spec: InferenceServiceSpec,
    platform: Platform,
    replica: Replica,
    plan: Mapping[str, Any] | None,
) -> Verdict | None:
    """Why nothing new may begin; `plan` as the status has it."""
    on = str((plan or {}).get("accelerator") or replica.accelerators.names[0])
    return (
        groups.refuse(replica, platform)
        or staging.refuse(replica, spec)
        or budget.refuse(spec.scaling, plan, on)
    )
