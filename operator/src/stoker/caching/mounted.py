"""A cache that keeps nothing: the container runtime pulls the image, and pods mount it.

    refused?  →  copied to the default storage, where fallback says so; else said, and no pod
    not seen  →  one job mounts it, where the engines may run, and reads what planning has to know
    seen      →  services mount it by its digest

The job is the proof: what the API server accepts, a kubelet or a runtime may still not do. So no
engine's pod is made before a pod with this very volume has run.
"""

from dataclasses import replace
from typing import Final

from stoker.caching import running, shared
from stoker.caching.context import Context
from stoker.caching.memory import Memory, Resolved
from stoker.caching.running import Ran
from stoker.caching.step import Step, content_of_image
from stoker.caching.storage import fallback_of
from stoker.model import reasons
from stoker.model.observed import ObservedPod
from stoker.model.plan import Verdict
from stoker_worker.cachecontract import FetchReason

# A runtime that does not know such volumes says so at once; a pull that fails may yet succeed.
_START_S: Final = 20.0
_PULL_S: Final = 120.0
_RETRY_S: Final = 120.0
_COPY: Final = (
    "keep the model on a claim (storage.pvc), or write storage.image.fallback: copy to have Stoker "
    "do so"
)
_UNSUPPORTED: Final = (
    "The API server does not take image volumes (feature gate ImageVolume, on by default from "
    f"Kubernetes 1.35): switch it on for API server and kubelets, or {_COPY}."
)


def refused(context: Context, resolved: Resolved) -> Verdict | None:
    """Why the image is not to be mounted; None where it may be tried."""
    if resolved.unmountable is not None:
        return resolved.unmountable
    if context.observed.image_volumes is False:
        return Verdict(reasons.IMAGE_VOLUMES_NOT_SUPPORTED, _UNSUPPORTED)
    return None


def not_mountable(why: str) -> Verdict:
    """What the job that looked at the source says of mounting it."""
    return Verdict(reasons.IMAGE_NOT_MOUNTABLE, f"The source cannot be mounted: {why}; {_COPY}.")


def settled(context: Context, memory: Memory) -> Context:
    """The same; with the storage to fall back to, once it is known that it has to be."""
    known = memory.resolved
    if not context.storage.mounted or known is None or known.source != context.source:
        return context
    elsewhere = fallback_of(context.observed.cache.key.name, context.spec, context.caches)
    if known.unmountable is None or elsewhere is None:
        return context
    return replace(context, storage=elsewhere)


def advance(context: Context, memory: Memory, resolved: Resolved) -> Step:
    """See to it that a pod has mounted the image that is wanted."""
    refusal = refused(context, resolved)
    if refusal is not None:
        return _instead(context, memory, resolved, refusal)
    if holds(context, memory, resolved):
        return Step("Ready", replace(memory, attempt=None))
    ran = running.run(context, context.mount_job(resolved), memory.attempt)
    if ran.result is not None:
        done = replace(
            memory,
            content=content_of_image(ran.result, resolved.image, resolved.image_folder),
            attempt=None,
            verified_at=context.now.unix,
            verified=context.verify_word,
            repaired=(),
            demands=context.demands,
        )
        return Step("Ready", done, keep=shared.kept(ran))
    given_up = _given_up(context, ran)
    if given_up is not None:
        ran = running.give_up(context, ran, memory.attempt, given_up)
    if ran.failed is not None:
        why = ran.failed.verdict
        if why.reason in _NOT_MOUNTED and _fallback(context):
            return _instead(context, memory, resolved, why)
        return shared.failing(memory, ran)
    step = shared.going("Pending", memory, ran)
    return step if step.verdict is not None else replace(step, verdict=_pulling(resolved))


def holds(context: Context, memory: Memory, resolved: Resolved) -> bool:
    """Whether a pod has had what is wanted, and nobody asks for it to be looked at again."""
    content = memory.content
    return (
        content is not None
        and content.image == resolved.image
        and content.folder == resolved.image_folder
        and memory.demands == context.demands
        and context.verify_word in {"", memory.verified}
    )


_NOT_MOUNTED: Final = frozenset(
    {
        reasons.IMAGE_VOLUMES_NOT_SUPPORTED,
        reasons.IMAGE_NOT_PULLED,
        reasons.IMAGE_NOT_MOUNTABLE,
        FetchReason.IMAGE_NOT_MOUNTED,
    }
)


def _fallback(context: Context) -> bool:
    image = None if context.spec.storage is None else context.spec.storage.image
    return image is not None and image.fallback == "copy"


def _instead(context: Context, memory: Memory, resolved: Resolved, why: Verdict) -> Step:
    """Copy, from the next pass on, where that is allowed; else say why nothing happens.

    What is decided once stays until the source is resolved anew: a service is not moved from its
    claim to the image because a cluster was upgraded.
    """
    if not _fallback(context):
        return Step(
            "Failed" if memory.content is None else "Degraded",
            memory,
            verdict=why,
            failed=True,
            retry_at=context.now.unix + _RETRY_S,
        )
    known = replace(resolved, unmountable=why)
    return Step("Pending", replace(memory, resolved=known, attempt=None), under_way=True)


def _given_up(context: Context, ran: Ran) -> Verdict | None:
    """Why a pod that was made will not start; None while it may."""
    pod = _waiting(context, ran)
    if pod is None:
        return None
    waited = context.now.unix - (pod.scheduled_at or context.now.unix)
    said = ran.verdict
    if said is not None and said.reason == reasons.IMAGE_PULL_FAILED and waited > _PULL_S:
        return Verdict(reasons.IMAGE_NOT_PULLED, f"Node {pod.node}: {said.message} Or {_COPY}.")
    if said is not None and said.reason == reasons.CONTAINER_CANNOT_START and waited > _START_S:
        return Verdict(
            reasons.IMAGE_VOLUMES_NOT_SUPPORTED,
            f"Node {pod.node} does not mount images, which takes containerd 2.1 or CRI-O 1.31 and "
            f"the kubelet's feature gate ImageVolume; {_COPY}. {said.message}",
        )
    if said is None and waited > context.caches.patience_s:
        return Verdict(
            reasons.IMAGE_NOT_PULLED,
            f"Node {pod.node} has not pulled the image after {waited:.0f} s, or its kubelet does "
            "not know image volumes (feature gate ImageVolume): see kubectl describe pod "
            f"{pod.name}; or {_COPY}.",
        )
    return None


def _waiting(context: Context, ran: Ran) -> ObservedPod | None:
    """The job's pod, where it has a node and does not run."""
    if ran.keep is None or not ran.under_way or ran.placed:
        return None
    return next(
        (
            pod
            for pod in context.observed.pods
            if pod.name.startswith(f"{ran.keep}-")
            and pod.phase == "Pending"
            and pod.node
            and not pod.deleting
        ),
        None,
    )


def _pulling(resolved: Resolved) -> Verdict:
    return Verdict(
        reasons.PULLING_IMAGE,
        f"A pod mounts the image {resolved.image} to read its model; the first one of a node waits "
        "until the runtime has pulled it.",
    )
