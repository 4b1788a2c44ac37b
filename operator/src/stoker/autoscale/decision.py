"""Queue depth and what arrives → replicas.

With Q requests waiting (held at the frontends plus waiting in the engines), R being computed, C
computed at once by one replica and T waiting requests per replica that are fine:

    need     = max( ceil((R + Q) / (C + T)),   what N replicas can compute and keep waiting
                    backlog,                   where more than T wait per replica: see below
                    ceil(demand),              what arrives (`demand`)
                    1 if anything is in progress )
    expected = max( need, ceil(forecast) )     the most within a start's time (`forecast`)

* Up at once to what is expected. The forecast may ask before a queue does.
* Backlog: where a replica's pace is known, the arrivals plus the queue's work spread over a
  minute and a half; else, and where the queue stays although all replicas answer, Q / T, the target
  as a number. A replica that is still warming up is credited: it will take from the queue what
  waits for it, so meanwhile Q / T may keep replicas but not add any. The credit ends after a while,
  because a replica that never comes must not hold the others back.
* Down to what is expected, never by less than what is there: N - 1 replicas are enough only if they
  can compute and keep waiting all that is there, so removing one never asks for it back at once.
  What was added stays for ten minutes, so that the direction changes at most twice in that time.
  Where the user has set `scaleDownStabilization`, that window's largest need decides instead.
* To zero where nothing is in progress and nothing is expected within a start's time; where the user
  has set `scaleToZeroAfter`, from a whole such window without any request: none held, waiting,
  computed or active, and no frontend's counter moved. The window begins once a replica answers:
  whoever asked for it gets to use it, however short the window and however long the start. From
  zero at once, at the first request.
* No data is not zero. Absent, stale, partial and not-a-number samples move nothing; a gap restarts
  the windows, because nobody knows what happened in it. One exception: at zero, a request that one
  frontend does report wakes the service although another frontend is silent; it was seen.
* Other targets (`targets`) are more needs, the largest wins; what they ask for is learned from like
  demand.
* Limits (`limits`: bounds, schedule, budget) are obeyed last and always, also without data.
"""

from dataclasses import replace

from stoker.autoscale import demand as demands
from stoker.autoscale import forecast as forecasts
from stoker.autoscale import latency, rates, targets
from stoker.autoscale.belief import in_progress, problem_of, reason_of, seen_in_part
from stoker.autoscale.explain import reckon
from stoker.autoscale.judgement import Present
from stoker.autoscale.limits import Limits, limits_of
from stoker.autoscale.memory import moved_to, next_change, record, remember, settled, starting
from stoker.autoscale.need import PATIENCE_S, need_of, terms_of
from stoker.autoscale.policy import Policy
from stoker.autoscale.rates import Behavior
from stoker.autoscale.sample import Sample
from stoker.model import reasons
from stoker.model.load import Load
from stoker.model.moment import Moment, earliest
from stoker.model.plan import Verdict
from stoker.model.scale import History, ScaleDecision, Term


def decide(policy: Policy, history: History, sample: Sample, now: Moment) -> ScaleDecision:
    """How many replicas are wanted from now on."""
    limits = limits_of(policy, sample.wanted, now)
    policy = limits.within(policy)
    problem = problem_of(sample.load, now.monotonic)
    lacking = None
    if problem is None and sample.load is not None:
        lacking = targets.missing(policy, sample.load)
    if sample.load is None or problem is not None or lacking is not None:
        since = now.monotonic if history.blind_since is None else history.blind_since
        history = replace(history, blind_since=since)
        lost = reason_of(sample.load, now.monotonic - since)
        reason = reasons.METRIC_MISSING if lacking else lost
        verdict = Verdict(reason, problem or lacking or "")
        found = _without_data(policy, history, sample, verdict, now, limits=limits)
    else:
        found = _with_data(policy, history, sample, sample.load, now, limits=limits)
    if sample.wanted is None or policy.behavior == Behavior():
        return replace(found, wake_at=earliest(found.wake_at, limits.changes_at))
    history = rates.remember(found.history, sample.wanted, found.replicas, now.monotonic)
    freed_at = rates.next_change(policy.behavior, history, now.monotonic)
    wake_at = earliest(found.wake_at, limits.changes_at, freed_at)
    return replace(found, history=history, wake_at=wake_at)


def _with_data(
    policy: Policy, history: History, sample: Sample, load: Load, now: Moment, *, limits: Limits
) -> ScaleDecision:
    time = now.monotonic
    history, moved = remember(replace(history, blind_since=None), load, time)
    history = demands.measure_lengths(history, load.engines)
    demand = demands.demand_of(policy, history, load, time)
    history = replace(history, latencies=latency.look(policy, history.latencies, load, time))
    asked = targets.asked(policy, history.latencies, load, time)
    outlook = history.outlook
    if outlook is None or forecasts.due(history.learned, time):
        wanted = max([demand.replicas, *(each.replicas for each in asked)])
        learned = forecasts.observe(history.learned, wanted, policy.lead_s, time)
        outlook = forecasts.forecast(learned, policy.quantile, policy.lead_s, time)
        history = replace(history, learned=learned, outlook=outlook)

    first = sample.wanted is None
    # A new service starts at one even where zero is allowed: a model that cannot run shows at once.
    current = max(1, policy.min_replicas) if sample.wanted is None else sample.wanted
    calm = settled(history, sample, current, time)
    queued = calm and load.queue_depth > policy.queue_target * max(1, current)
    since = (time if history.queued_since is None else history.queued_since) if queued else None
    if since != history.queued_since:
        history = replace(history, queued_since=since)
    stuck = since is not None and time - since >= PATIENCE_S
    terms = terms_of(policy, load, current, settled=calm, demand=demand, stuck=stuck)
    if moved:
        terms = {**terms, Term.PROGRESS: 1}
    words = asked[0].words if asked and asked[0].replicas > max(terms.values()) else ""
    # The most last: two percentiles of one time are one term.
    terms = {**terms, **{each.term: each.replicas for each in reversed(asked)}}
    need = need_of(terms)
    active = moved or in_progress(load) or starting(history, sample, current, time)
    history = record(history, policy, need, time, active=active)

    present = Present(policy, history, load, current, need, outlook, time)
    replicas, verdict = present.judge()
    if words and verdict.reason == reasons.LOAD_GREW:
        verdict = replace(verdict, message=f"{words}: {need} replicas")
    replicas, verdict = rates.bound(policy.behavior, history, current, (replicas, verdict), time)
    if first and replicas == current:
        verdict = Verdict(reasons.FIRST_REPLICAS, f"a new service starts with {current}")
    replicas, verdict = limits.clamp(replicas, verdict)
    history = moved_to(history, current, replicas, time)
    return ScaleDecision(
        replicas,
        verdict,
        active=True,
        activity=_follows(policy, limits, latency.words(policy, history.latencies, time)),
        load=load,
        queue_target=policy.queue_target,
        reckoning=reckon(present, terms, demand.request_s, replicas, history, settled=calm),
        history=history,
        wake_at=next_change(policy, history, replicas, time),
    )


def _without_data(
    policy: Policy, history: History, sample: Sample, why: Verdict, now: Moment, *, limits: Limits
) -> ScaleDecision:
    current = max(1, policy.min_replicas) if sample.wanted is None else sample.wanted
    replicas, problem = current, why.message
    verdict = Verdict(why.reason, f"{problem}; the number of replicas stays")
    if current == 0 and seen_in_part(sample.load, now.monotonic):
        replicas = 1
        verdict = Verdict(reasons.REQUEST_ARRIVED, f"a request came at zero replicas; {problem}")
    elif sample.wanted is None:
        verdict = Verdict(reasons.FIRST_REPLICAS, f"a new service starts with {current}; {problem}")
    replicas, verdict = limits.clamp(replicas, verdict)
    history = moved_to(history, current, replicas, now.monotonic)
    return ScaleDecision(
        replicas,
        verdict,
        active=False,
        activity=Verdict(why.reason, f"Not scaling, the number of replicas stays: {problem}."),
        queue_target=policy.queue_target,
        history=history,
    )


def _follows(policy: Policy, limits: Limits, hopeless: str) -> Verdict:
    return Verdict(
        reasons.FOLLOWS_QUEUE,
        f"Scaling between {policy.min_replicas} and {policy.max_replicas} replicas, "
        f"{policy.queue_target} waiting requests per replica{_targets(policy)}.{limits.words}"
        f"{hopeless}",
    )


def _targets(policy: Policy) -> str:
    """The other targets in words."""
    words = ""
    if policy.concurrency_target is not None:
        words += f", {policy.concurrency_target} requests in progress per replica"
    if policy.kv_target is not None:
        words += f", {policy.kv_target:.0%} of its KV cache in use"
    words += "".join(f", {latency.said(target)}" for target in policy.latency)
    return words
