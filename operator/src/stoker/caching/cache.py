"""One pass over one cache: from a look at the cluster to everything that should happen.

    refuse?  →  resolve  →  claim  →  fetch or verify  →  writes  →  status, events

Nothing here takes away what a service uses: `claim` and `folder` name the last whole content until
another one is whole, whatever is refused, fails or waits meanwhile.
"""

from dataclasses import replace
from typing import Final

from stoker import naming
from stoker.caching import admission, mounted, nodes, running, shared, status, storage
from stoker.caching.context import Context
from stoker.caching.memory import Content, Memory, Resolved
from stoker.caching.step import Step
from stoker.model import reasons
from stoker.model.cache import CachePlan, CachePlatform, ObservedCache
from stoker.model.moment import Moment, earliest
from stoker.model.plan import Apply, Delete, Event, Verdict
from stoker.model.platform import Platform
from stoker.plan import actions
from stoker.render import cache as rendering
from stoker.render import drift
from stoker.render.objects import Owner
from stoker_worker.cachecontract import FetchResult

# How often a job's progress is read, and written into the status.
LOOK_S: Final = 5.0
# Nobody reports of nodes that come and go; they are listed about that often.
NODES_S: Final = 60.0
# Nobody reports of a claim that is missing, terminating or not bound. Services ask as often.
CLAIM_RETRY_S: Final = 5.0


def plan_cache(
    observed: ObservedCache, caches: CachePlatform, platform: Platform, now: Moment
) -> CachePlan:
    """Everything that one pass wants done for a cache."""
    cache = observed.cache
    if cache.deleting:
        # The garbage collector removes what we own; writing now would only make it anew.
        return CachePlan(())
    memory = Memory.read(cache.status)
    refusal = admission.refuse(cache, caches, platform)
    if refusal is not None or cache.spec is None:
        phase = "Failed" if memory.content is None else "Degraded"
        step = Step(phase, memory, verdict=refusal, failed=True)
        return _finish(observed, step, caches, now, None)
    kept_in = storage.storage_of(cache.key.name, cache.spec, caches)
    context = Context(observed, cache.spec, kept_in, caches, platform, now)
    context = mounted.settled(context, memory)
    step = _advance(context, replace(memory, content=_present(context, memory.content)))
    return _finish(observed, step, caches, now, context)


def _present(context: Context, content: Content | None) -> Content | None:
    """What the status names, unless its claim is gone: another of that name is empty."""
    claim = context.observed.claim
    if content is None or content.image or content.claim != context.storage.claim:
        return content
    return content if claim is not None and claim.uid == content.claim_uid else None


def _advance(context: Context, memory: Memory) -> Step:
    """Resolve, see to the claim, then to what is on it; an image that is mounted has no claim."""
    found = _resolve(context, memory)
    if isinstance(found, Step):
        return found
    memory, resolved, keep, events = found
    if context.max_bytes and resolved.bytes > context.max_bytes:
        step = _stopped(memory, _too_large(context, resolved), failed=True)
        return replace(step, keep=keep, events=events)
    if context.storage.mounted:
        step = mounted.advance(context, memory, resolved)
        return replace(step, keep=step.keep | keep, events=(*events, *step.events))
    claim = storage.prepare(
        context.observed, context.storage, resolved, memory.content, context.caches
    )
    if not claim.usable:
        step = _stopped(memory, claim.verdict, failed=claim.failed)
        return replace(step, keep=keep, events=events, writes=claim.writes)
    follow = nodes.advance if context.storage.per_node else shared.advance
    step = follow(context, memory, resolved)
    if step.failed and claim.verdict is not None and step.verdict is not None:
        # A disk that is too small, and what can be done about it.
        words = f"{step.verdict.message} {claim.verdict.message}"
        step = replace(step, verdict=Verdict(step.verdict.reason, words))
    return replace(
        step,
        keep=step.keep | keep,
        events=(*events, *step.events),
        writes=(*claim.writes, *step.writes),
    )


def _resolve(
    context: Context, memory: Memory
) -> Step | tuple[Memory, Resolved, frozenset[str], tuple[Event, ...]]:
    """What the source has: as it was found once, until another source or its owner asks."""
    known = memory.resolved
    if known is not None and known.source == context.source and _tells_enough(context, known):
        return memory, known, frozenset(), ()
    ran = running.run(context, context.resolve_job(), memory.attempt)
    if ran.result is not None:
        resolved = _resolved(context, ran.result)
        message = (
            f"{context.spec.model.uri} is at revision {resolved.revision}: {resolved.files} files, "
            f"{status.size(resolved.bytes)}."
        )
        event = Event("Normal", reasons.RESOLVED, message)
        memory = replace(memory, resolved=resolved, attempt=None)
        return memory, resolved, shared.kept(ran), (event,)
    if ran.failed is not None:
        return shared.failing(memory, ran)
    return shared.going("Resolving", memory, ran)


def _tells_enough(context: Context, known: Resolved) -> bool:
    """Whether what was found then says how to mount it, where it is to be mounted."""
    return not context.storage.mounted or bool(known.image) or known.unmountable is not None


def _resolved(context: Context, result: FetchResult) -> Resolved:
    uri = context.spec.model.uri
    refusal = None
    if context.storage.mounted and (result.unmountable or not result.image):
        why = result.unmountable or "the worker is of a version that does not mount images"
        refusal = mounted.not_mountable(why)
    return Resolved(
        revision=result.revision,
        bytes=result.bytes,
        files=result.files,
        folder=naming.model_folder(uri, result.revision),
        source=context.source,
        image=result.image,
        image_folder=result.image_folder,
        unmountable=refusal,
    )


def _too_large(context: Context, resolved: Resolved) -> Verdict:
    return Verdict(
        reasons.SOURCE_TOO_LARGE,
        f"The model has {status.size(resolved.bytes)}, more than the "
        f"{status.size(context.max_bytes)} that budget.maxSize or the administrator allows.",
    )


def _stopped(memory: Memory, verdict: Verdict | None, *, failed: bool) -> Step:
    """Nothing more can be done in this pass."""
    bad = "Failed" if memory.content is None else "Degraded"
    return Step(bad if failed else "Pending", memory, verdict=verdict, failed=failed)


def _finish(
    observed: ObservedCache,
    step: Step,
    caches: CachePlatform,
    now: Moment,
    context: Context | None,
) -> CachePlan:
    writes: list[Apply | Delete] = [*_support(observed, step, caches), *step.writes]
    writes.extend(_removals(observed, step))
    return CachePlan(
        actions=actions.in_order(writes),
        status=status.build_status(observed, step, context),
        events=status.build_events(observed, step),
        wake_at=_wake_at(observed, step, now, context),
        labels=()
        if context is None or step.wanted_nodes is None
        else nodes.labels(context, step.memory),
    )


def _support(observed: ObservedCache, step: Step, caches: CachePlatform) -> list[Apply]:
    """Identity and policy; none is made for a cache that is refused."""
    cache = observed.cache
    if cache.spec is None or not (step.under_way or step.keep or _has_support(observed)):
        return []
    writes = []
    for manifest in rendering.render_support(Owner(cache.key, cache.uid, cache.kind), caches):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        present = observed.object(kind, name)
        if (kind, name) in observed.taken:
            continue
        if present is None:
            writes.append(Apply(manifest, reasons.MISSING))
        elif drift.needs_apply(manifest, present.body):
            writes.append(Apply(manifest, reasons.CHANGED))
    return writes


def _has_support(observed: ObservedCache) -> bool:
    return any(each.kind == "NetworkPolicy" for each in observed.objects)


def _removals(observed: ObservedCache, step: Step) -> list[Delete]:
    """Jobs that nobody needs any more: read, given up, or of another content."""
    return [
        actions.delete(each, reasons.UNUSED)
        for each in observed.objects
        if each.kind == "Job" and each.name not in step.keep
    ]


def _wake_at(
    observed: ObservedCache, step: Step, now: Moment, context: Context | None
) -> float | None:
    """When the passing of time alone changes something."""
    at = step.retry_at
    if context is not None and not step.under_way and not step.failed:
        times = (
            [node.verified_at for node in step.memory.nodes.values() if node.ready]
            if step.wanted_nodes is not None
            else [step.memory.verified_at]
        )
        at = earliest(at, *(shared.next_verification(context, time) for time in times))
    soon = None
    if step.under_way:
        soon = now.monotonic + LOOK_S
    elif step.wanted_nodes is not None:
        soon = now.monotonic + NODES_S
    elif (
        context is not None
        and not context.storage.mounted
        and (observed.claim is None or observed.claim.phase != "Bound")
    ):
        soon = now.monotonic + CLAIM_RETRY_S
    return earliest(soon, None if at is None else now.monotonic + max(0.0, at - now.unix))
