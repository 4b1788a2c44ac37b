"""The name of a revision: a hash of named factors of the spec.

Two specs share a revision exactly when no replica would have to restart to go from one to the
other. The factors are what the user asked for, never what the operator made of it: a new operator,
a new worker image or an edited catalogue restarts nothing, it waits for the next revision (see
`plan.engines` for the one exception, a revision that does not run anyway).

A factor of a type that has no canonical form is an error, rather than a hash of too little. The
factors and the hash are frozen by a test; a new field of the spec joins with the value that leaves
older specs their hash: None and empty factors are left out.

A plan is one factor more, where it makes a replica differ from what the plain fields of the spec
give. It was named when the plan was made and stands in the status with it, so that a plan that is
kept names the same revision for ever.
"""

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Final

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.location import Location
from stoker.model.observed import Key
from stoker.model.replica import Replica, Run
from stoker.plan import replica
from stoker.quantity import parse_quantity

LENGTH: Final = 8
_MODEL: Final = "."  # between what names the plan and what names the model
_DECIDED: Final = frozenset({"acceleratorTypes", "ranks", "tensor", "maxModelLen"})


def revision_of(
    key: Key,
    spec: InferenceServiceSpec,
    location: Location,
    plan: str = "",
    *,
    decides: bool = False,
) -> str:
    """The revision that this spec asks for.

    `plan` is what `plan_factor` gave. A plan that `decides` says what the spec may say of
    accelerators and length, so whoever writes down what was planned anyway restarts nothing.
    """
    given = {name: canonical(value) for name, value in factors(key, spec, location).items()}
    if plan:
        given["plan"] = plan
        if decides:
            given = {name: value for name, value in given.items() if name not in _DECIDED}
    text = json.dumps(
        {name: value for name, value in given.items() if value not in (None, {}, [])},
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def factors(key: Key, spec: InferenceServiceSpec, location: Location) -> dict[str, object]:
    """All that makes a replica what it is, by name.

    Of the model it is where it lies: another content of a cache lies in another folder.
    """
    template = spec.template
    return {
        "model": [location.root, location.folder],
        "staging": "memory" if spec.optimization.staging == "memory" else None,
        "servedNames": replica.served_names(key, spec),
        "adapters": [[each.name, each.uri] for each in spec.model.adapters],
        "engine": spec.engine.name,
        "image": spec.engine.image,
        "args": spec.engine.args,
        "env": {variable.name: variable.value for variable in spec.engine.env},
        "profiling": spec.engine.profiling or None,
        "acceleratorTypes": spec.accelerator.types,
        "ranks": replica.ranks_of(spec),
        "tensor": _unless(replica.tensor_of(spec), replica.ranks_of(spec)),
        "nodes": spec.parallelism.nodes,
        "maxModelLen": spec.context.max_model_len,
        "nodeSelector": template.node_selector,
        "tolerations": [
            [toleration.key, toleration.operator, toleration.value, toleration.effect]
            for toleration in template.tolerations
        ],
        "priorityClass": template.priority_class_name,
        "labels": template.labels,
        "annotations": template.annotations,
        "requests": _amounts(template.resources.requests),
        "limits": _amounts(template.resources.limits),
        "runtimeClass": template.runtime_class_name,
    }


def plan_factor(run: Run, planned: Replica, plain: Replica, changed_model: str = "") -> str:
    """Names a plan; empty where the plain fields of the spec give the same replica.

    `changed_model` is the digest of a model whose files were changed in place: nothing else tells
    the replicas that load the new files from those that hold the old ones.
    """
    factor = ""
    if (planned.args, planned.env, planned.accelerators) != (
        plain.args,
        plain.env,
        plain.accelerators,
    ):
        text = json.dumps([run.args, run.env, run.accelerator, run.ranks], separators=(",", ":"))
        factor = hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
    if changed_model:
        factor += _MODEL + hashlib.sha256(changed_model.encode()).hexdigest()[:LENGTH]
    return factor


def names_model(factor: str) -> bool:
    """Whether a changed model is part of this name of a plan."""
    return _MODEL in factor


def canonical(value: object) -> object:
    """A form that equal values share; TypeError for a type that has none."""
    match value:
        case Enum():
            return canonical(value.value)
        case None | bool() | int() | str():
            return value
        case list() | tuple():
            return [canonical(item) for item in value]
        case Mapping():
            return {str(name): canonical(item) for name, item in value.items()}
        case _:
            raise TypeError(f"a revision cannot be named by a {type(value).__name__}")


def _unless(value: int, usual: int) -> int | None:
    return None if value == usual else value


def _amounts(resources: Mapping[str, str]) -> dict[str, str]:
    """1000m and 1 are the same amount of processor."""
    return {name: f"{parse_quantity(value).normalize():f}" for name, value in resources.items()}
