"""The spec meets the catalogue and the plan: what one replica is.

Only for a spec that was not refused. Flags and variables come from three sides: the administrator's
defaults, the plan over them, the user's own over both. Defaults that the planner was told of as
wishes are in the plan already, and only there.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from stoker.api.modelcache import CacheTemplate
from stoker.api.template import Toleration
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.location import Location
from stoker.model.observed import Key
from stoker.model.platform import EnginePlatform, Platform
from stoker.model.replica import Accelerators, Pairs, Placement, PodAdditions, Replica, Run
from stoker.plan import groups
from stoker.planner.flags import lora_args
from stoker.planner.request import FLAGS, adapters_of
from stoker_worker.cachecontract import COMPILED

_PLAIN: Final = Run()
# Flags that the summary tells of.
_TOLD: Final = {
    "tensor-parallel-size": "tensor parallel",
    "pipeline-parallel-size": "pipeline parallel",
    "data-parallel-size": "data parallel",
    "quantization": "weights in",
    "kv-cache-dtype": "KV cache in",
}


def replica_of(
    key: Key,
    spec: InferenceServiceSpec,
    platform: Platform,
    location: Location,
    run: Run = _PLAIN,
) -> Replica:
    """Everything that decides how the pods of a replica of this service look."""
    engine = platform.engines[spec.engine.name.value]
    replica = Replica(
        engine=spec.engine.name.value,
        image=spec.engine.image or engine.image,
        python=engine.python,
        claim=location.claim,
        folder=location.folder,
        model_image=location.image,
        node_label=location.node_label,
        compiled=_compiled(location) if platform.compile_bytes else "",
        compiled_bytes=platform.compile_bytes,
        served_names=served_names(key, spec),
        args=_args(spec, engine, run),
        env=_pairs(
            {
                **engine.env,
                **dict(run.env),
                **{variable.name: variable.value for variable in spec.engine.env},
            }
        ),
        mounts=engine.mounts,
        accelerators=_accelerators(spec, platform, run),
        additions=_additions(spec),
        shared_memory=engine.shared_memory,
        worker_image=platform.worker_image,
        image_pull_secrets=_pull_secrets(location, platform),
        settle_s=platform.settle_s,
        drain_s=platform.drain_s,
        allow_pickle=platform.allow_pickle,
        scrape_annotations=platform.scrape_annotations,
        profiling=spec.engine.profiling,
    )
    return groups.spread(replica, spec.parallelism.nodes, platform.gpus)


def placement_of(spec: InferenceServiceSpec, platform: Platform) -> Placement:
    """Where the pods of a service may run, without anything else about them."""
    return Placement(
        _accelerators(spec, platform, _PLAIN), _additions(spec), platform.image_pull_secrets
    )


def additions_of(template: CacheTemplate) -> PodAdditions:
    """What a cache's template adds to its pods."""
    return PodAdditions(
        node_selector=_pairs(template.node_selector),
        tolerations=_tolerations(template.tolerations),
        priority_class=template.priority_class_name,
    )


def served_names(key: Key, spec: InferenceServiceSpec) -> tuple[str, ...]:
    """Names that clients may send, the main one first, each once."""
    return tuple(dict.fromkeys((spec.model.served_name or key.name, *spec.model.aliases)))


def answered_names(key: Key, spec: InferenceServiceSpec) -> tuple[str, ...]:
    """The same and the adapters' own: all that a request may name."""
    adapters = (each.name for each in spec.model.adapters)
    return tuple(dict.fromkeys((*served_names(key, spec), *adapters)))


def types_of(spec: InferenceServiceSpec, platform: Platform) -> tuple[str, ...]:
    """Accelerator types that the spec names, or the administrator's default."""
    return tuple(spec.accelerator.types) or (platform.default_accelerator,)


def ranks_of(spec: InferenceServiceSpec) -> int:
    """Accelerators of one replica, as far as the spec says; one for what it leaves open."""
    return spec.accelerator.per_replica or math.prod(spec.parallelism.given)


def tensor_of(spec: InferenceServiceSpec) -> int:
    """Tensor parallel size without a plan: what the other sizes leave of the accelerators."""
    others = (spec.parallelism.pipeline or 1) * (spec.parallelism.data or 1)
    return spec.parallelism.tensor or max(1, ranks_of(spec) // others)


def describe(replica: Replica) -> str:
    """One line for status: what runs."""
    accelerators = replica.accelerators
    parts = [f"{replica.engine} on {accelerators.count} x {'/'.join(accelerators.names)}"]
    if replica.nodes > 1:
        parts.append(f"over {replica.nodes} pods")
    args = dict(replica.args)
    parts.extend(f"{words} {args[name]}" for name, words in _TOLD.items() if name in args)
    if "max-model-len" in args:
        parts.append(f"{args['max-model-len']} tokens")
    return ", ".join(parts)


def _pull_secrets(location: Location, platform: Platform) -> tuple[str, ...]:
    own = () if location.pull_secret is None else (location.pull_secret,)
    return tuple(dict.fromkeys((*platform.image_pull_secrets, *own)))


def _compiled(location: Location) -> str:
    """Beside the model, under its name: it goes when the model goes."""
    if not location.writable:
        return ""
    return f"{COMPILED}/{location.folder.rpartition('/')[2]}"


def _args(spec: InferenceServiceSpec, engine: EnginePlatform, run: Run) -> Pairs:
    defaults = engine.args
    if run.accelerator is not None:
        defaults = {name: text for name, text in defaults.items() if name not in FLAGS}
    args = {**defaults, **dict(run.args), **spec.engine.args}
    if run.accelerator is None:
        if tensor_of(spec) > 1:
            args["tensor-parallel-size"] = str(tensor_of(spec))
        if spec.context.max_model_len is not None:
            args["max-model-len"] = str(spec.context.max_model_len)
        args.update(lora_args(adapters_of(spec)))
    return _pairs(args)


def _accelerators(spec: InferenceServiceSpec, platform: Platform, run: Run) -> Accelerators:
    names = types_of(spec, platform) if run.accelerator is None else (run.accelerator,)
    count = ranks_of(spec) if run.accelerator is None else run.ranks
    entries = [platform.accelerators[name] for name in names]
    tolerations = dict.fromkeys(
        _pairs(toleration) for entry in entries for toleration in entry.tolerations
    )
    selectors = dict.fromkeys(_pairs(entry.node_selector) for entry in entries)
    # An entry that any node fits leaves nothing to choose.
    choices = tuple(selectors) if () not in selectors else ((),)
    return Accelerators(names, entries[0].resource, count, choices, tuple(tolerations))


def _additions(spec: InferenceServiceSpec) -> PodAdditions:
    template = spec.template
    return PodAdditions(
        node_selector=_pairs(template.node_selector),
        tolerations=_tolerations(template.tolerations),
        labels=_pairs(template.labels),
        annotations=_pairs(template.annotations),
        requests=tuple(sorted(template.resources.requests.items())),
        limits=tuple(sorted(template.resources.limits.items())),
        priority_class=template.priority_class_name,
        runtime_class=template.runtime_class_name,
    )


def _tolerations(given: Iterable[Toleration]) -> tuple[Pairs, ...]:
    return tuple(
        _pairs(
            {
                name: value
                for name in ("key", "operator", "value", "effect")
                if (value := getattr(toleration, name)) is not None
            }
        )
        for toleration in given
    )


def _pairs(mapping: Mapping[str, str]) -> Pairs:
    return tuple(sorted(mapping.items()))
