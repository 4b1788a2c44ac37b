"""What to do about each reason that the operator writes: words, and a command where one does it."""

from typing import Final

from stoker.model import reasons
from stoker.model.observed import Key
from stoker_worker.contract import FactsReason

_EDIT: Final = "`kubectl edit infer {name} -n {ns}`"
_VALUES: Final = "in the chart's values"
# The spec asks for what the administrator does not offer, or for what cannot be.
SPEC: Final = {
    reasons.INVALID_SPEC: f"Correct the field: {_EDIT}.",
    reasons.ENGINE_NOT_OFFERED: f"Choose an engine that is offered ({_EDIT}), or add this one to "
    f"`engines` {_VALUES}.",
    reasons.ACCELERATOR_NOT_OFFERED: f"Choose types that are offered ({_EDIT}), or add the type to "
    f"`accelerators` {_VALUES}.",
    reasons.IMAGE_NOT_ALLOWED: f"Remove engine.image or take one that is allowed ({_EDIT}), or add "
    f"its prefix to `engines.ENGINE.imagePrefixes` {_VALUES}.",
    reasons.ARGUMENT_NOT_ALLOWED: f"Remove the flag ({_EDIT}), or add it to "
    f"`engines.ENGINE.allowedArgs` {_VALUES}.",
    reasons.ENVIRONMENT_NOT_ALLOWED: f"Remove the variable ({_EDIT}), or add it to "
    f"`engines.ENGINE.allowedEnv` {_VALUES}.",
    reasons.LABEL_NOT_ALLOWED: f"Remove the label ({_EDIT}), or add it to `allowed.labels` "
    f"{_VALUES}.",
    reasons.ANNOTATION_NOT_ALLOWED: f"Remove the annotation ({_EDIT}), or add it to "
    f"`allowed.annotations` {_VALUES}.",
    reasons.TOLERATION_NOT_ALLOWED: f"Remove the toleration ({_EDIT}), or add its key to "
    f"`allowed.tolerations` {_VALUES}.",
    reasons.PRIORITY_CLASS_NOT_ALLOWED: f"Remove the priority class ({_EDIT}), or add it to "
    f"`allowed.priorityClasses` {_VALUES}.",
    reasons.RUNTIME_CLASS_NOT_ALLOWED: f"Remove the runtime class ({_EDIT}), or add it to "
    f"`allowed.runtimeClasses` {_VALUES}.",
    reasons.GROUPS_NOT_OFFERED: "Install the LeaderWorkerSet controller and set "
    f"`leaderWorkerSet.enabled=true` {_VALUES}, or remove parallelism.nodes: {_EDIT}.",
    reasons.GROUP_UNEVEN: f"Make the sizes divide evenly: {_EDIT}.",
    reasons.SCHEDULE_INVALID: f"Correct scaling.schedule: {_EDIT}.",
    reasons.BUDGET_TOO_SMALL: f"Raise scaling.budget.maxPerHour or lower minReplicas: {_EDIT}.",
    reasons.BUDGET_NEEDS_PRICE: "Give the accelerator a price "
    f"(`accelerators.TYPE.hardware.pricePerHour` {_VALUES}), or remove the budget: {_EDIT}.",
    reasons.CONTRADICTION: f"Remove one of the two: {_EDIT}.",
    reasons.NAME_USED_TWICE: f"Choose another name for the adapter: {_EDIT}.",
}
# What the model's files say.
FACTS: Final = {
    reasons.FACTS_NOT_READ: "See what the reader says: `kubectl logs -n {ns} -l "
    "stoker.dev/service={name},stoker.dev/component=facts`. docs/model-facts.md explains it.",
    reasons.FACTS_NOT_ALLOWED: "Let the namespace run the Job that reads the model (its policy or "
    "quota refuses it); until then nothing is planned.",
    FactsReason.MODEL_NOT_FOUND: "Correct the folder in model.uri "
    f"({_EDIT}), or put the model there.",
    FactsReason.PICKLE_WEIGHTS: "Convert the weights to safetensors; only where you trust their "
    f"origin, `models.allowPickle=true` {_VALUES}.",
    FactsReason.REMOTE_CODE: "Stoker runs no code of a model: use a checkpoint that the engine "
    "knows by itself.",
    FactsReason.WEIGHTS_MISSING: "Put the weights (*.safetensors) beside config.json, then have it "
    "read again: `kubectl annotate infer {name} -n {ns} --overwrite stoker.dev/reread-model=again`",
}
FACTS_ELSE: Final = (
    "docs/model-facts.md says what each reason means. When the files are mended: `kubectl annotate "
    "infer {name} -n {ns} --overwrite stoker.dev/reread-model=again`"
)
PLAN: Final = (
    "`stoker plan --of {name} -n {ns}` shows what was tried, and the ways out; then change the "
    f"field that you can do without: {_EDIT}."
)
ENGINE: Final = {
    reasons.OUT_OF_MEMORY: "Raise template.resources.limits.memory, or give the engine less to "
    f"hold (context.maxModelLen, optimization.batching.maxNumSeqs): {_EDIT}.",
    reasons.MODEL_NOT_FOUND: f"Correct the folder in model.uri: {_EDIT}.",
    reasons.MODEL_INVALID: "This engine version cannot load this model: take a newer engine.image, "
    f"or another checkpoint: {_EDIT}.",
    reasons.MODEL_CORRUPT: "Fetch the named file again. A ModelCache does it by itself: `stoker "
    "cache ls -n {ns}`.",
    reasons.PICKLE_WEIGHTS: "Convert the weights to safetensors.",
    reasons.CONFIG_INVALID: "Operator and worker do not fit: check images.worker "
    f"{_VALUES} (docs/worker.md).",
    reasons.START_TIMED_OUT: "Read the engine's log for the phase that takes so long: `kubectl "
    "logs -n {ns} {pod} -c engine --previous`.",
    reasons.WARMUP_FAILED: "The engine started and could not answer: `kubectl logs -n {ns} {pod} "
    "-c engine --previous`.",
    reasons.CONTAINER_CANNOT_START: "`kubectl describe pod {pod} -n {ns}` names what the container "
    "lacks.",
    reasons.ENGINE_HUNG: "It was restarted. When it comes back, keep the log for the engine's "
    "authors: `kubectl logs -n {ns} {pod} -c engine --previous`.",
    reasons.GROUP_BROKEN: "See the other pods of the replica: `kubectl get pods -n {ns} -l "
    "stoker.dev/service={name} -o wide`.",
    reasons.EVICTED: "`kubectl describe pod {pod} -n {ns}` says what the node ran out of.",
}
ENGINE_ELSE: Final = (
    "Read its last words: `kubectl logs -n {ns} {pod} -c {container} --previous`. A flag that it "
    f"does not know is removed with {_EDIT}."
)
CACHE: Final = {
    reasons.CACHE_NOT_FOUND: "Create the ModelCache, or correct model.cacheRef.name "
    f"({_EDIT}); `kubectl get mc -n {{ns}}` lists those there are.",
    reasons.CACHE_MISMATCH: f"Rename one of the two, or name the cache in model.cacheRef: {_EDIT}.",
    reasons.NOT_ENOUGH_DISK: "Give it more room: raise storage.size of the ModelCache where the "
    "class can grow, or make a new one.",
    reasons.SOURCE_NOT_OFFERED: "Ask the administrator for the source (`caches.schemes`, "
    f"`caches.hub` {_VALUES}), or take one that is offered.",
    reasons.SOURCE_TOO_LARGE: f"Ask for a larger `caches.maxSize` {_VALUES}.",
    reasons.JOB_FAILED: "See the job's words: `kubectl logs -n {ns} -l stoker.dev/cache={cache} "
    "--tail=30`.",
    "Unauthorized": "Renew the token in the cache's Secret (spec.model.secretRef); the hub has to "
    "grant it the model.",
}
CACHE_ELSE: Final = "`kubectl describe mc {cache} -n {ns}`; docs/caches.md explains each reason."
CLAIM: Final = (
    "`kubectl describe pvc {claim} -n {ns}`: its last events say why no volume comes (no default "
    "storage class, no volume of that size, an unknown class)."
)


def filled(text: str, key: Key | None, **more: str) -> str:
    """The text with the service's names in it."""
    names = {"name": "" if key is None else key.name, "ns": "" if key is None else key.namespace}
    found = text
    for word, value in {**names, **more}.items():
        found = found.replace(f"{{{word}}}", value)
    return found
