"""What users may set, by the administrator's lists. First refusal wins; nothing is half obeyed.

The API server has checked the shape; here are the questions that need the administrator's choice.
Everything that loads code, opens files or names addresses is a flag or a variable of the engine,
which is why both are allow-lists and Stoker's own are refused even where a list names them.
"""

from collections.abc import Iterable
from typing import Final

from stoker.api.modelcache import CacheTemplate
from stoker.api.template import Template
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons, schedule
from stoker.model.observed import Key
from stoker.model.plan import Verdict
from stoker.model.platform import EnginePlatform, Platform
from stoker.planner.request import FLAGS, explicit

# Flags that Stoker sets from other fields, and where to ask for them instead.
OWNED_ARGS: Final = {
    "model": "model.uri",
    "served-model-name": "model.servedName",
    "tensor-parallel-size": "parallelism.tensor",
    "pipeline-parallel-size": "parallelism.pipeline",
    "data-parallel-size": "parallelism.data",
    "enable-expert-parallel": "parallelism.expert",
    "speculative-config": "optimization.speculative",
    "max-model-len": "context.maxModelLen",
    "host": None,
    "port": None,
    "uds": None,
    "root-path": None,
    "api-key": None,
    "shutdown-timeout": None,
    "profiler-config": "engine.profiling",
}
OWNED_ENV: Final = frozenset(
    {
        "HF_HUB_OFFLINE",
        "HOME",
        "LOGNAME",
        "TMPDIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRANSFORMERS_OFFLINE",
        "TRITON_CACHE_DIR",
        "USER",
        "VLLM_CACHE_ROOT",
        "XDG_CACHE_HOME",
    }
)


def refuse(spec: InferenceServiceSpec, platform: Platform) -> Verdict | None:
    """Why this spec cannot be carried out here; None when it can."""
    engine = platform.engines.get(spec.engine.name.value)
    if engine is None:
        return Verdict(
            reasons.ENGINE_NOT_OFFERED,
            f"engine.name: {spec.engine.name.value} is not in the engine catalogue; "
            f"{_offer(platform.engines)}.",
        )
    checks = (
        _accelerators(spec, platform),
        _image(spec, engine),
        _args(spec, engine),
        _said_twice(spec),
        _env(spec, engine),
        _labels(spec, platform),
        _annotations(spec, platform),
        refuse_template(spec.template, platform),
        _runtime_class(spec, platform),
        _schedule(spec),
    )
    return next((verdict for verdict in checks if verdict is not None), None)


def refuse_names(key: Key, spec: InferenceServiceSpec) -> Verdict | None:
    """An adapter under the name that the model has where the spec gives it none."""
    main = spec.model.served_name or key.name
    if main not in {adapter.name for adapter in spec.model.adapters}:
        return None
    return Verdict(
        reasons.NAME_USED_TWICE,
        f"model.adapters: {main} is the name of the model itself; choose another name for the "
        "adapter, or set model.servedName.",
    )


def _accelerators(spec: InferenceServiceSpec, platform: Platform) -> Verdict | None:
    types = spec.accelerator.types or [platform.default_accelerator]
    unknown = [name for name in types if name not in platform.accelerators]
    if unknown:
        return Verdict(
            reasons.ACCELERATOR_NOT_OFFERED,
            f"accelerator.types: {unknown[0]} is not in the GPU catalogue; "
            f"{_offer(platform.accelerators)}.",
        )
    resources = {platform.accelerators[name].resource for name in types}
    if len(resources) > 1:
        return Verdict(
            reasons.ACCELERATOR_NOT_OFFERED,
            f"accelerator.types: {', '.join(types)} are different resources "
            f"({', '.join(sorted(str(resource) for resource in resources))}); a service can only "
            "choose among types of one resource. Remove some.",
        )
    return None


def _image(spec: InferenceServiceSpec, engine: EnginePlatform) -> Verdict | None:
    image = spec.engine.image
    if image is None or image == engine.image:
        return None
    if any(_below(image, prefix) for prefix in engine.image_prefixes):
        return None
    return Verdict(
        reasons.IMAGE_NOT_ALLOWED,
        f"engine.image: {image} is not below an allowed prefix; "
        f"{_offer(engine.image_prefixes)}, or remove the field to use {engine.image}.",
    )


def _below(image: str, prefix: str) -> bool:
    """Whole path segments only: ghcr.io/acme does not allow ghcr.io/acme-evil/engine."""
    rest = image.removeprefix(prefix)
    return rest != image and (prefix.endswith("/") or rest == "" or rest[0] in "/:@")


def _args(spec: InferenceServiceSpec, engine: EnginePlatform) -> Verdict | None:
    for name in sorted(spec.engine.args):
        if name in OWNED_ARGS:
            field = OWNED_ARGS[name]
            instead = f"set {field} instead" if field else "remove it"
            return Verdict(
                reasons.ARGUMENT_NOT_ALLOWED,
                f"engine.args: {name} is set by Stoker itself; {instead}.",
            )
        if name not in engine.allowed_args:
            return Verdict(
                reasons.ARGUMENT_NOT_ALLOWED,
                f"engine.args: {name} is not allowed here; {_offer(engine.allowed_args)}.",
            )
    return None


def _said_twice(spec: InferenceServiceSpec) -> Verdict | None:
    """A flag beside the typed field that says the same: nobody could tell which one is meant."""
    typed = explicit(spec)
    for name in sorted(spec.engine.args):
        if name in FLAGS and FLAGS[name].wish in typed:
            return Verdict(
                reasons.CONTRADICTION,
                f"engine.args: {name} says what {FLAGS[name].path} says too; remove one of them.",
            )
    return None


def _env(spec: InferenceServiceSpec, engine: EnginePlatform) -> Verdict | None:
    for variable in spec.engine.env:
        if variable.name in OWNED_ENV or variable.name.startswith("STOKER_"):
            return Verdict(
                reasons.ENVIRONMENT_NOT_ALLOWED,
                f"engine.env: {variable.name} is set by Stoker itself; remove it.",
            )
        if variable.name not in engine.allowed_env:
            return Verdict(
                reasons.ENVIRONMENT_NOT_ALLOWED,
                f"engine.env: {variable.name} is not allowed here; {_offer(engine.allowed_env)}.",
            )
    return None


def _labels(spec: InferenceServiceSpec, platform: Platform) -> Verdict | None:
    return _keys(
        "template.labels", spec.template.labels, platform.allowed_labels, reasons.LABEL_NOT_ALLOWED
    )


def _annotations(spec: InferenceServiceSpec, platform: Platform) -> Verdict | None:
    return _keys(
        "template.annotations",
        spec.template.annotations,
        platform.allowed_annotations,
        reasons.ANNOTATION_NOT_ALLOWED,
    )


def refuse_template(template: Template | CacheTemplate, platform: Platform) -> Verdict | None:
    """What the pods of services and of caches may be given alike."""
    return _tolerations(template, platform) or _priority_class(template, platform)


def _tolerations(template: Template | CacheTemplate, platform: Platform) -> Verdict | None:
    for toleration in template.tolerations:
        if toleration.key not in platform.allowed_tolerations:
            return Verdict(
                reasons.TOLERATION_NOT_ALLOWED,
                f"template.tolerations: {toleration.key or 'every taint'} is not allowed here; "
                f"{_offer(platform.allowed_tolerations)}.",
            )
    return None


def _priority_class(template: Template | CacheTemplate, platform: Platform) -> Verdict | None:
    name = template.priority_class_name
    if name is None or name in platform.allowed_priority_classes:
        return None
    return Verdict(
        reasons.PRIORITY_CLASS_NOT_ALLOWED,
        f"template.priorityClassName: {name} is not allowed here; "
        f"{_offer(platform.allowed_priority_classes)}.",
    )


def _runtime_class(spec: InferenceServiceSpec, platform: Platform) -> Verdict | None:
    name = spec.template.runtime_class_name
    if name is None or name in platform.allowed_runtime_classes:
        return None
    return Verdict(
        reasons.RUNTIME_CLASS_NOT_ALLOWED,
        f"template.runtimeClassName: {name} is not allowed here; "
        f"{_offer(platform.allowed_runtime_classes)}.",
    )


def _schedule(spec: InferenceServiceSpec) -> Verdict | None:
    """What no rule of the schema can tell: cron expressions, time zones, overlaps."""
    entries = () if spec.scaling is None else schedule.entries_of(spec.scaling)
    problem = schedule.problem_of(entries)
    if problem is None:
        return None
    return Verdict(reasons.SCHEDULE_INVALID, f"scaling.schedule{problem}.")


def _keys(field: str, given: Iterable[str], allowed: Iterable[str], reason: str) -> Verdict | None:
    for key in sorted(given):
        if not any(key == one or (one.endswith("/") and key.startswith(one)) for one in allowed):
            return Verdict(reason, f"{field}: {key} is not allowed here; {_offer(allowed)}.")
    return None


def _offer(allowed: Iterable[str]) -> str:
    names = sorted(allowed)
    if not names:
        return "the administrator allows none"
    shown = ", ".join(names[:20])
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"the administrator allows {shown}{more}"
