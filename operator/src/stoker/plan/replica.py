"""The spec meets the catalogue: what one replica is. Only for a spec that was not refused."""

from collections.abc import Mapping

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.location import location_of
from stoker.model.observed import Key
from stoker.model.platform import EnginePlatform, Platform
from stoker.model.replica import Accelerators, Pairs, PodAdditions, Replica


def replica_of(key: Key, spec: InferenceServiceSpec, platform: Platform) -> Replica:
    """Everything that decides how an engine pod of this service looks."""
    engine = platform.engines[spec.engine.name.value]
    claim, folder = model_location(spec)
    return Replica(
        engine=spec.engine.name.value,
        image=spec.engine.image or engine.image,
        python=engine.python,
        claim=claim,
        folder=folder,
        served_names=served_names(key, spec),
        args=_args(spec, engine),
        env=_pairs(
            {**engine.env, **{variable.name: variable.value for variable in spec.engine.env}}
        ),
        mounts=engine.mounts,
        accelerators=_accelerators(spec, platform),
        additions=_additions(spec),
        shared_memory=engine.shared_memory,
        worker_image=platform.worker_image,
        image_pull_secrets=platform.image_pull_secrets,
        settle_s=platform.settle_s,
        drain_s=platform.drain_s,
    )


def model_location(spec: InferenceServiceSpec) -> tuple[str, str]:
    """The claim that holds the model, and the folder in it ('' for its root)."""
    return location_of(spec.model.uri)


def served_names(key: Key, spec: InferenceServiceSpec) -> tuple[str, ...]:
    """Names that clients may send, the main one first, each once."""
    return tuple(dict.fromkeys((spec.model.served_name or key.name, *spec.model.aliases)))


def ranks_of(spec: InferenceServiceSpec) -> int:
    """Accelerators of one replica, which is also its tensor parallel size."""
    return spec.parallelism.tensor or spec.accelerator.per_replica or 1


def describe(replica: Replica) -> str:
    """One line for status: what runs."""
    accelerators = replica.accelerators
    parts = [f"{replica.engine} on {accelerators.count} x {'/'.join(accelerators.names)}"]
    args = dict(replica.args)
    if "tensor-parallel-size" in args:
        parts.append(f"tensor parallel {args['tensor-parallel-size']}")
    if "max-model-len" in args:
        parts.append(f"{args['max-model-len']} tokens")
    return ", ".join(parts)


def _args(spec: InferenceServiceSpec, engine: EnginePlatform) -> Pairs:
    args = {**engine.args, **spec.engine.args}
    ranks = ranks_of(spec)
    if ranks > 1:
        args["tensor-parallel-size"] = str(ranks)
    if spec.context.max_model_len is not None:
        args["max-model-len"] = str(spec.context.max_model_len)
    return _pairs(args)


def _accelerators(spec: InferenceServiceSpec, platform: Platform) -> Accelerators:
    names = tuple(spec.accelerator.types) or (platform.default_accelerator,)
    entries = [platform.accelerators[name] for name in names]
    tolerations = dict.fromkeys(
        _pairs(toleration) for entry in entries for toleration in entry.tolerations
    )
    selectors = dict.fromkeys(_pairs(entry.node_selector) for entry in entries)
    # An entry that any node fits leaves nothing to choose.
    choices = tuple(selectors) if () not in selectors else ((),)
    return Accelerators(names, entries[0].resource, ranks_of(spec), choices, tuple(tolerations))


def _additions(spec: InferenceServiceSpec) -> PodAdditions:
    template = spec.template
    return PodAdditions(
        node_selector=_pairs(template.node_selector),
        tolerations=tuple(
            _pairs(
                {
                    name: value
                    for name in ("key", "operator", "value", "effect")
                    if (value := getattr(toleration, name)) is not None
                }
            )
            for toleration in template.tolerations
        ),
        labels=_pairs(template.labels),
        annotations=_pairs(template.annotations),
        requests=tuple(sorted(template.resources.requests.items())),
        limits=tuple(sorted(template.resources.limits.items())),
        priority_class=template.priority_class_name,
        runtime_class=template.runtime_class_name,
    )


def _pairs(mapping: Mapping[str, str]) -> Pairs:
    return tuple(sorted(mapping.items()))
