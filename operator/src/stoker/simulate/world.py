"""The cluster in the small: a frontend that holds requests, and replicas that come, serve and go.

    arrival ─► frontend ─► the least loaded replica that is not full ─► engine ─► answer
                  │ none: held, first come first served
                  └ held too long, or too many: shed

    pod:  created ─(phases)─► ready ─► draining ─► deleted
             └ never, where its node does not come or it is broken    └ or lost with its spot node

Everything here moves by events of one heap, ordered by time, then by kind, then by who was first;
so a run depends on nothing but its arguments. The frontend's rules are those that Stoker's own
frontend is rendered with. A request that is lost with its replica goes back to the frontend while
it has no first token, and is cut after that, as a stream cannot be sent twice.
"""

import heapq
import math
from array import array
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from random import Random

from stoker.planner.batching import Arrival, Engine, Job
from stoker.simulate.frontend import Frontend
from stoker.simulate.limit import Look
from stoker.simulate.policy import ReplicaSignal, Snapshot
from stoker.simulate.service import Service
from stoker.simulate.starts import Nodes, Start, Starts, draw_start
from stoker.simulate.times import Times


class Kind(IntEnum):
    """Events, in the order in which those of one moment happen."""

    ENGINE = 0
    READY = 1
    LOST = 2
    EXPIRE = 3
    DRAINED = 4
    SCRAPE = 5
    TICK = 6
    WAKE = 7
    LIMIT = 8


@dataclass(slots=True, eq=False)
class Pod:
    """One replica. Times in seconds; infinity: never."""

    number: int
    created: float
    start: Start
    engine: Engine
    node_after_s: float  # from its creation to its node; 0 where one was there
    from_warm: bool = False  # on a node that is there for good
    ready: float = math.inf
    draining: bool = False
    deleted: float = math.inf
    scheduled: float = math.inf  # its next event in the heap
    worked: tuple[float, int] = (0.0, 0)  # seconds and steps when the frontend's rule looked last
    times: Times | None = None  # where somebody reads them

    @property
    def name(self) -> str:
        """As signals call it."""
        return f"engine-{self.number}"

    @property
    def load(self) -> int:
        """Requests in it."""
        return self.engine.running + self.engine.waiting


@dataclass(slots=True)
class Seen:
    """What became of each request, by its number, in seconds; NaN: it never came to that."""

    ttft: "array[float]"
    itl: "array[float]"
    first: int = 0
    ttft_sum: float = 0.0
    finished: int = 0
    output_tokens: int = 0
    prompt_tokens: int = 0  # of the finished requests
    itl_sum: float = 0.0
    shed: int = 0
    cut: int = 0


class World:
    """The state of one run."""

    def __init__(
        self,
        service: Service,
        starts: Starts,
        frontend: Frontend,
        requests: int,
        seed: int,
        *,
        timed: bool = False,
    ) -> None:
        self._service = service
        self._starts = starts
        self._frontend = frontend
        self._seed = seed
        self._timed = timed
        self._nodes = Nodes(starts.warm_nodes)
        self._order = 0
        self._limit: float = math.inf if frontend.rule is None else frontend.rule.begins_with
        self._held: deque[tuple[float, Job]] = deque()
        self._serving: list[Pod] = []  # ready and staying
        self.events: list[tuple[float, int, int, Pod | None]] = []
        self.pods: list[Pod] = []  # not deleted
        self.gone: list[Pod] = []
        self.wanted = 0
        self.arrived = 0
        self.input_tokens = 0
        self.seen = Seen(array("d", [math.nan]) * requests, array("d", [math.nan]) * requests)

    # What there is.

    @property
    def held(self) -> int:
        """Requests at the frontend."""
        return len(self._held)

    @property
    def ready(self) -> int:
        """Pods that answer and stay."""
        return len(self._serving)

    @property
    def staying(self) -> list[Pod]:
        """Pods that are not told to go."""
        return [pod for pod in self.pods if not pod.draining]

    @property
    def in_flight(self) -> int:
        """Requests that are neither served nor shed nor cut."""
        return len(self._held) + sum(pod.load for pod in self.pods)

    def snapshot(self, now: float, noise: float, chance: Random) -> Snapshot:
        """Everything as a pipeline reads it, counts with relative noise."""

        def count(value: int) -> int:
            if not noise:
                return value
            return max(0, round(value * (1 + chance.gauss(0.0, noise))))

        def share(value: float) -> float:
            return min(1.0, max(0.0, value * (1 + chance.gauss(0.0, noise)))) if noise else value

        seen = self.seen
        return Snapshot(
            time=now,
            held=count(len(self._held)),
            replicas=tuple(
                ReplicaSignal(
                    pod.name,
                    count(pod.engine.running),
                    count(pod.engine.waiting),
                    share(pod.engine.kv_share),
                    pod.engine.kv_tokens,
                    () if pod.times is None else pod.times.ttft,
                    () if pod.times is None else pod.times.itl,
                )
                for pod in self._serving
            ),
            leaving=sum(pod.load for pod in self.pods if pod.draining),
            requests_total=self.arrived,
            input_tokens_total=self.input_tokens,
            first_total=seen.first,
            ttft_s_total=seen.ttft_sum,
            finished_total=seen.finished,
            output_tokens_total=seen.output_tokens,
            prompt_tokens_total=seen.prompt_tokens,
            itl_s_total=seen.itl_sum,
            shed_total=seen.shed,
        )

    # Requests.

    def arrive(self, request: Arrival, now: float) -> None:
        """A request comes to the frontend."""
        job = Job(self.arrived, request)
        self.arrived += 1
        self.input_tokens += request.input_tokens
        self._accept(job, now)

    def expire(self, now: float) -> None:
        """Give up those who have been held too long."""
        hold = self._frontend.hold_s
        while self._held and self._held[0][0] + hold <= now:
            self._held.popleft()
            self.seen.shed += 1
        if self._held:
            self.push(self._held[0][0] + hold, Kind.EXPIRE)

    def set_limit(self, now: float) -> None:
        """Ask the frontend's rule how many requests a replica may have from now on."""
        rule, pods = self._frontend.rule, self._serving
        if rule is None:
            return
        fullest, slowest = 0, 0.0
        for pod in pods:
            seconds, steps = pod.engine.worked(now)
            before = pod.worked
            pod.worked = (seconds, steps)
            fullest = max(fullest, pod.load)
            slowest = max(slowest, (seconds - before[0]) / max(1, steps - before[1]))
        self._limit = rule.next(Look(int(self._limit), len(self._held), fullest, slowest))
        self._place_held(now)

    def advance(self, pod: Pod, now: float) -> None:
        """One engine's boundary."""
        pod.scheduled = math.inf
        seen, engine = self.seen, pod.engine
        ended = engine.advance()
        if pod.times is not None:
            pod.times.count(engine, now)
        for job in engine.first_tokens:
            ttft = now - job.request.at_s
            seen.ttft[job.number] = ttft
            seen.first += 1
            seen.ttft_sum += ttft
        for job in ended:
            tokens = job.request.output_tokens
            itl = (now - job.first) / (tokens - 1) if tokens > 1 else 0.0
            seen.itl[job.number] = itl
            seen.finished += 1
            seen.output_tokens += tokens
            seen.prompt_tokens += job.request.input_tokens
            seen.itl_sum += itl
        self._schedule(pod)
        if pod.draining:
            if not pod.load:
                self._delete(pod, now)
        elif self._held:
            self._place_held(now)

    def _accept(self, job: Job, now: float) -> None:
        pod = None if self._held else self._choose()
        if not self._service_holds(job.request) or (
            pod is None and len(self._held) >= self._frontend.max_held
        ):
            self.seen.shed += 1
        elif pod is not None:
            self._submit(pod, job, now)
        else:
            if not self._held:
                self.push(now + self._frontend.hold_s, Kind.EXPIRE)
            self._held.append((now, job))

    def _service_holds(self, request: Arrival) -> bool:
        """A request that no replica can ever hold is answered with an error at once."""
        tokens = max(1, request.input_tokens) + request.output_tokens
        size = self._service.block_size
        return -(-tokens // size) <= self._service.kv_tokens // size

    def _choose(self) -> Pod | None:
        """The least loaded replica that is not full."""
        best, least = None, self._limit
        queue, full = self._frontend.queue_per_replica, self._frontend.kv_full
        for pod in self._serving:
            engine = pod.engine
            waiting = engine.waiting
            if waiting >= queue:
                continue
            load = engine.running + waiting
            if load < least and engine.kv_share < full:
                best, least = pod, load
        return best

    def _submit(self, pod: Pod, job: Job, now: float) -> None:
        pod.engine.submit(job, now)
        self._schedule(pod)

    def _schedule(self, pod: Pod) -> None:
        due = pod.engine.due
        if due < pod.scheduled:
            pod.scheduled = due
            self.push(due, Kind.ENGINE, pod)

    def _place_held(self, now: float) -> None:
        while self._held:
            pod = self._choose()
            if pod is None:
                return
            self._submit(pod, self._held.popleft()[1], now)

    # Replicas.

    def scale_to(self, replicas: int, now: float) -> None:
        """Create pods, or tell the ones to go that cost least to lose."""
        self.wanted = replicas
        staying = self.staying
        for _ in range(replicas - len(staying)):
            self._create(now)
        if replicas < len(staying):
            # Those that do not answer yet, then the idlest, the newest among equals.
            staying.sort(key=lambda pod: (pod.ready <= now, pod.load, -pod.number))
            for pod in staying[: len(staying) - replicas]:
                self._tell_to_go(pod, now)

    def start_with(self, replicas: int) -> None:
        """Pods that answer from the beginning; their starts lie before it and are not billed."""
        self.wanted = replicas
        for _ in range(replicas):
            pod = self._create(0.0, there=True)
            pod.ready = 0.0
            self.become_ready(pod, 0.0)

    def become_ready(self, pod: Pod, now: float) -> None:
        """A pod answers for the first time, unless it has gone before."""
        if pod.draining or pod.deleted <= now:
            return
        self._serving.append(pod)
        if math.isfinite(pod.start.lost_after_s):
            self.push(now + pod.start.lost_after_s, Kind.LOST, pod)
        self._place_held(now)

    def lose(self, pod: Pod, now: float) -> None:
        """Its node is taken away; the workload's controller makes another pod at once."""
        if pod.deleted <= now:
            return
        self._end(pod, now, node_stays=False)
        self.scale_to(self.wanted, now)

    def end_drain(self, pod: Pod, now: float) -> None:
        """Its grace is over."""
        if pod.deleted > now:
            self._end(pod, now, node_stays=True)

    def push(self, time: float, kind: Kind, pod: Pod | None = None) -> None:
        """An event to come."""
        self._order += 1
        heapq.heappush(self.events, (time, kind, self._order, pod))

    def _create(self, now: float, *, there: bool = False) -> Pod:
        number = len(self.pods) + len(self.gone)
        start = draw_start(self._starts, self._seed, number)
        node = self._nodes.take(now)
        service = self._service
        engine = Engine(service.steps, service.kv_tokens, service.max_num_seqs, service.block_size)
        found = there or node is not None
        node_after = 0.0 if found else start.phases["node"] if start.granted else math.inf
        pod = Pod(number, now, start, engine, node_after, from_warm=node is True)
        pod.times = Times() if self._timed else None
        self.pods.append(pod)
        if not there:
            pod.ready = now + start.ready_after_s(node_there=found)
            if math.isfinite(pod.ready):
                self.push(pod.ready, Kind.READY, pod)
        return pod

    def _tell_to_go(self, pod: Pod, now: float) -> None:
        pod.draining = True
        if pod in self._serving:
            self._serving.remove(pod)
        if pod.load:
            self.push(now + self._frontend.drain_s, Kind.DRAINED, pod)
        else:
            self._delete(pod, now)

    def _end(self, pod: Pod, now: float, *, node_stays: bool) -> None:
        """It ends with what it computes: streams are cut, the others are sent again."""
        if pod in self._serving:
            self._serving.remove(pod)
        lost = pod.engine.abandon()
        pod.draining = True
        self._delete(pod, now, node_stays=node_stays)
        for job in lost:
            if job.first < 0:
                self._accept(Job(job.number, job.request), now)
            else:
                self.seen.cut += 1

    def _delete(self, pod: Pod, now: float, *, node_stays: bool = True) -> None:
        pod.deleted = now
        self.pods.remove(pod)
        self.gone.append(pod)
        if pod.from_warm and node_stays:
            self._nodes.warm += 1
        elif node_stays and pod.created + pod.node_after_s <= now:
            self._nodes.left.append(now + self._starts.node_stays_s)
