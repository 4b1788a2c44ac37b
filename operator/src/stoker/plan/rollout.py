"""How many replicas of which revision: one pure step, taken again at every look.

N replicas are wanted, the spec asks for revision R, other revisions still have replicas. The step
keeps no state: what it needs is the replicas that each revision is told to have, how many answer,
and whether a revision has ever answered.

Rolling, with surge S:

    old  = max(0, N - ready(R))       replicas that R does not yet carry
    new  = min(N, N + S - old)        as many as the surge leaves room for

* Never more than N + S replicas are asked for, never fewer can answer than did before: an old
  replica leaves only for a new one that is ready.
* While no replica of R is ready, R gets the surge alone, and scaling up goes to the old revision,
  which is known to work. So a broken R holds nothing back.
* An old revision that never answered has nothing to protect; it goes at once, and its
  accelerators are free for R. One that did answer is kept even while none of its replicas is ready:
  a node that restarts must not turn a broken R into an outage.

Where no node came for what the surge asked for (`plan.capacity`), there are two rules more:

* A limit: no more replicas than had a node. Those that have one keep it, then the wanted revision
  gets what is left of it.
* A spare: one replica of an old revision may go before the new one is ready, so that its place is
  free. `old` is then max(0, N - ready(R) - 1), with a surge of 0; never less, so a place that
  somebody else takes costs one replica and not one after the other.

Recreate: the old ones go first, R starts when the last of their pods is gone.

Several old revisions (a second change during the first) share `old`: what is ready is kept first.
Going back to an older revision is the same step with another R.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from stoker.api.v1alpha1 import RolloutStrategy


@dataclass(frozen=True, slots=True)
class RevisionState:
    """One revision as observed."""

    name: str
    replicas: int  # that its Deployment is told to have
    ready: int  # pods that answer and are not being deleted
    pods: int  # pods that exist, those being deleted included
    served: bool  # whether one of its pods has ever answered
    placed: int = 0  # replicas that have a node and are not being deleted


@dataclass(frozen=True, slots=True)
class Step:
    """Replicas of each revision from now on, the wanted revision included."""

    replicas: dict[str, int]
    finished: tuple[str, ...]  # revisions of which nothing is left: their Deployments may go


def next_step(
    wanted: int,
    current: str,
    strategy: RolloutStrategy,
    max_surge: int,
    revisions: Iterable[RevisionState],
    *,
    spare: int = 0,
    limit: int | None = None,
) -> Step:
    """The replicas that each revision should have now.

    `spare` old replicas may go before new ones are ready; no more than `limit` are asked for.
    """
    states = {state.name: state for state in revisions}
    new = states.pop(current, RevisionState(current, 0, 0, 0, served=False))
    old = sorted(states.values(), key=lambda state: (-state.ready, not state.served, state.name))
    if strategy is RolloutStrategy.RECREATE:
        replicas = _recreate(wanted, new, old)
    else:
        replicas = _roll(wanted, max_surge, spare, new, old)
    if limit is not None:
        replicas = _within(limit, replicas, [new, *old])
    return Step(
        replicas,
        tuple(state.name for state in old if state.replicas == 0 and state.pods == 0),
    )


def _recreate(wanted: int, new: RevisionState, old: list[RevisionState]) -> dict[str, int]:
    gone = all(state.pods == 0 and state.replicas == 0 for state in old)
    mine = wanted if gone else min(wanted, new.replicas)
    return {new.name: mine, **{state.name: 0 for state in old}}


def _within(limit: int, asked: dict[str, int], order: list[RevisionState]) -> dict[str, int]:
    """As much of what is asked for as the limit allows: what has a node first, then in order."""
    given: dict[str, int] = {}
    for state in order:
        given[state.name] = min(asked[state.name], state.placed, limit - sum(given.values()))
    for state in order:
        left = limit - sum(given.values())
        given[state.name] += min(asked[state.name] - given[state.name], left)
    return given


def _roll(
    wanted: int, max_surge: int, spare: int, new: RevisionState, old: list[RevisionState]
) -> dict[str, int]:
    works = [state for state in old if state.served and state.replicas > 0]
    kept = _share(max(0, wanted - spare), new, works)
    total = sum(kept.values())
    return {
        new.name: min(wanted, wanted + max_surge - total),
        **{state.name: kept.get(state.name, 0) for state in old},
    }


def _share(wanted: int, new: RevisionState, old: list[RevisionState]) -> dict[str, int]:
    """What old revisions that work keep, the most ready first in `old`."""
    left = max(0, wanted - new.ready)
    kept = {}
    for state in old:
        kept[state.name] = min(state.ready, state.replicas, left)
        left -= kept[state.name]
    for state in old:
        # Not ready yet, or not any more: kept where nothing better carries the load.
        more = min(state.replicas - kept[state.name], left)
        kept[state.name] += more
        left -= more
    if old and new.ready == 0:
        kept[old[0].name] += left
    return kept
