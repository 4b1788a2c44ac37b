"""A replica of several pods: who belongs to it, and when it is complete.

The engines of a group cannot be started one by one: a rank that waits for another gives up after
minutes, while the other's image may still be pulled or its node not exist yet. So the workers meet
first, and no engine is started before every pod of the group is there:

    follower ──GET /group/RANK/TOKEN──► leader       every second, from the first to the last one
             ◄──{"leader": TOKEN, "complete": …}──

A token names one life of one worker. The same request goes on after the start and then carries two
more truths: a leader that hears another token from a rank knows that this rank's part of the model
is lost, and a follower that hears another token from its leader knows the same of itself.

Values only; `assembly.py` is the shell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Dict, Mapping, Optional, Tuple

from stoker_worker.contract import (
    ENV_CONFIG,
    ENV_GROUP_LEADER,
    ENV_GROUP_RANK,
    ENV_GROUP_SIZE,
    ENV_POD_IP,
    PATH_GROUP,
    ContractError,
    WorkerConfig,
)

_TOKEN_LENGTH = 32


@dataclass(frozen=True)
class Membership:
    """What a pod of a group is told."""

    size: int
    rank: int  # 0 is the leader
    leader: str  # DNS name or address
    address: str  # this pod's own

    @property
    def leads(self) -> bool:
        """Whether this pod serves."""
        return self.rank == 0


def membership_of(config: WorkerConfig, env: Mapping[str, str]) -> Optional[Membership]:
    """Read the membership from the environment; None where the replica is one pod.

    ContractError says what does not fit: a group of another size than was planned would deal the
    ranks out wrongly, and an engine would only find out after it had loaded the model.
    """
    if config.nodes <= 1:
        return None
    missing = [
        name
        for name in (ENV_GROUP_LEADER, ENV_GROUP_SIZE, ENV_GROUP_RANK, ENV_POD_IP)
        if not env.get(name)
    ]
    if missing:
        raise ContractError(
            f"the replica spans {config.nodes} pods, but {', '.join(missing)} is not set: the pod "
            "must be made by a LeaderWorkerSet whose controller runs its webhooks"
        )
    size, rank = _number(ENV_GROUP_SIZE, env), _number(ENV_GROUP_RANK, env)
    if size != config.nodes:
        raise ContractError(
            f"{ENV_GROUP_SIZE} is {size}, but {ENV_CONFIG} plans {config.nodes} pods"
        )
    if rank >= size:
        raise ContractError(f"{ENV_GROUP_RANK} is {rank}, but the group has {size} pods")
    return Membership(size, rank, env[ENV_GROUP_LEADER], env[ENV_POD_IP])


def _number(name: str, env: Mapping[str, str]) -> int:
    if not _is_number(env[name]):
        raise ContractError(f"{name} must be a number of at least 0, not {env[name]!r}")
    return int(env[name])


def report_path(rank: int, token: str) -> str:
    """Return the path by which a follower reports."""
    return f"{PATH_GROUP}/{rank}/{token}"


def read_report(path: str) -> Optional[Tuple[int, str]]:
    """Return the rank and the token of a report; None for what is none."""
    start, _, rest = path[1:].partition("/")
    rank, _, token = rest.partition("/")
    good = f"/{start}" == PATH_GROUP and _is_number(rank) and len(rank) <= 4 and token.isalnum()
    return (int(rank), token) if good and len(token) <= _TOKEN_LENGTH else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # a superscript is a digit, and no number


@dataclass(frozen=True)
class Reply:
    """What the leader answers."""

    leader: str  # its token
    complete: bool  # whether every follower has reported, so that the engines may start

    def to_json(self) -> str:
        """Render the body."""
        return json.dumps({"leader": self.leader, "complete": self.complete}) + "\n"

    @staticmethod
    def parse(body: bytes) -> Optional[Reply]:
        """Read a body; None when it is no reply."""
        try:
            data = json.loads(body)
            return Reply(str(data["leader"]), data["complete"] is True)
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Roll:
    """The leader's list: the token of each follower, and when it was last heard."""

    size: int
    tokens: Dict[int, str] = field(default_factory=dict)
    heard: Dict[int, float] = field(default_factory=dict)
    started: bool = False  # complete once, and the engines are told to start

    @property
    def complete(self) -> bool:
        """Whether every follower has reported."""
        return len(self.tokens) == self.size - 1

    @property
    def missing(self) -> Tuple[int, ...]:
        """Ranks that have not reported yet."""
        return tuple(rank for rank in range(1, self.size) if rank not in self.tokens)

    def take(self, rank: int, token: str, now: float) -> Tuple[Roll, bool]:
        """Enter a report; whether it shows that this rank began anew after the start.

        A rank that the group does not have is not entered.
        """
        if not 0 < rank < self.size:
            return self, False
        known = self.tokens.get(rank)
        if self.started and known != token:
            # The list stays as it is: what the engines were started with is over either way.
            return self, True
        tokens, heard = {**self.tokens, rank: token}, {**self.heard, rank: now}
        taken = replace(self, tokens=tokens, heard=heard)
        return replace(taken, started=taken.started or taken.complete), False

    def silent(self, now: float, longer_than_s: float) -> Optional[Tuple[int, float]]:
        """Return the rank that was not heard of for longest, and for how long."""
        ages = sorted((now - at, rank) for rank, at in self.heard.items())
        if not ages or ages[-1][0] < longer_than_s:
            return None
        return ages[-1][1], ages[-1][0]
