"""A cache on one volume: fetched by one job, verified by others.

content is what is wanted?  no → fetch    yes → due for verification?  yes → verify

Due is also what an engine found bad: its pod is started again and again and repairs nothing.
"""

from dataclasses import replace

from stoker.caching import running
from stoker.caching.context import Context
from stoker.caching.memory import Memory, Resolved
from stoker.caching.running import Ran
from stoker.caching.step import Step, content_of, repaired
from stoker.model import reasons
from stoker.model.plan import Event


def advance(context: Context, memory: Memory, resolved: Resolved) -> Step:
    """Fetch or verify, whichever is to be done next."""
    if not holds(context, memory, resolved):
        return _fetch(context, memory, resolved)
    reported = max(context.observed.corrupt.values(), default=None)
    if due(context, memory.verified_at, memory.verified) or newer(reported, memory.verified_at):
        return _verify(context, memory, resolved)
    return Step("Ready", replace(memory, attempt=None))


def holds(context: Context, memory: Memory, resolved: Resolved) -> bool:
    """Whether the volume holds what is wanted."""
    content, claim = memory.content, context.observed.claim
    return (
        content is not None
        and claim is not None
        and content.claim_uid == claim.uid
        and content.claim == claim.name
        and content.folder == resolved.folder
        and memory.demands == context.demands
    )


def due(context: Context, verified_at: float | None, word: str) -> bool:
    """Whether every byte is to be read again: its time has come, or its owner says so."""
    if context.verify_word not in {"", word}:
        return True
    at = next_verification(context, verified_at)
    return at is not None and context.now.unix >= at


def newer(reported: float | None, verified_at: float | None) -> bool:
    """Whether a bad file was found after every byte was read last."""
    return reported is not None and (verified_at is None or reported > verified_at)


def next_verification(context: Context, verified_at: float | None) -> float | None:
    """When every byte is to be read again, in Unix seconds."""
    every = context.verify_every_s
    if every is None:
        return None
    return context.now.unix if verified_at is None else verified_at + every


def _fetch(context: Context, memory: Memory, resolved: Resolved) -> Step:
    ran = running.run(context, context.fetch_job(resolved, memory.content), memory.attempt)
    claim = context.observed.claim
    if ran.result is not None and claim is not None:
        found = content_of(ran.result, claim.name, claim.uid, resolved.folder)
        done = replace(
            memory,
            content=found,
            attempt=None,
            verified_at=context.now.unix,
            verified=context.verify_word,
            repaired=tuple(ran.result.repaired),
            demands=context.demands,
        )
        return Step("Ready", done, keep=kept(ran), events=repaired(ran.result))
    if ran.failed is not None:
        return failing(memory, ran)
    phase = "Fetching" if ran.placed else "Pending"
    return going(phase, memory, ran)


def _verify(context: Context, memory: Memory, resolved: Resolved) -> Step:
    ran = running.run(context, context.verify_job(resolved, memory.content), memory.attempt)
    claim = context.observed.claim
    if ran.result is not None and claim is not None:
        found = content_of(ran.result, claim.name, claim.uid, resolved.folder)
        if found.facts is None and memory.content is not None and found.unread is not None:
            # A job that only compared bytes knows nothing new of the model.
            found = replace(found, facts=memory.content.facts, unread=memory.content.unread)
        done = replace(
            memory,
            content=found,
            attempt=None,
            verified_at=context.now.unix,
            verified=context.verify_word,
            repaired=tuple(ran.result.repaired),
        )
        event = Event("Normal", reasons.VERIFIED, verified_words(ran))
        return Step("Ready", done, keep=kept(ran), events=(*repaired(ran.result), event))
    if ran.failed is not None:
        step = failing(memory, ran)
        return replace(step, phase="Degraded", unverified=ran.failed.verdict)
    return going("Verifying", memory, ran)


def verified_words(ran: Ran) -> str:
    """What a verification read."""
    result = ran.result
    if result is None:
        return "Every byte was compared with its digest."
    return f"Every byte of {result.files} files was compared with its digest."


def failing(memory: Memory, ran: Ran) -> Step:
    """A job failed, and its time has not come yet."""
    failed = ran.failed
    if failed is None:
        raise AssertionError("nothing failed")
    return Step(
        "Failed" if memory.content is None else "Degraded",
        replace(memory, attempt=failed),
        keep=kept(ran),
        verdict=failed.verdict,
        failed=True,
        retry_at=failed.retry_at,
    )


def going(phase: str, memory: Memory, ran: Ran) -> Step:
    """A job is on its way."""
    return Step(
        phase,
        memory,
        keep=kept(ran),
        writes=() if ran.write is None else (ran.write,),
        verdict=ran.verdict,
        progress=ran.progress,
        under_way=True,
    )


def kept(ran: Ran) -> frozenset[str]:
    """The Job that is still needed."""
    return frozenset() if ran.keep is None else frozenset({ran.keep})
