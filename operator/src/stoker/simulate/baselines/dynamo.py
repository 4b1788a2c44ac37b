"""NVIDIA Dynamo's planner for engines that compute prompts and answers together ("agg").

Source, ai-dynamo/dynamo: `components/src/dynamo/planner/core/throughput_scaling.py`,
`core/load_scaling.py`, `config/planner_config.py`, `config/defaults.py`. Its two loops:

* throughput, every 180 s: the requests, prompts and answers of the next interval are forecast
  (`forecasts`), and replicas = ceil(rate / best rate of one engine) (`dynamo_engine`). Without
  traffic the lengths are 0, no rate is found, and the number stays as it is.
* load, every 5 s, on what engines report of themselves; nothing while replicas are on their way.
  - latency targets ("sla"): up by 1 when all engines' TTFT, or all engines' ITL, is above its
    target. Down by 1 when for each engine, with N/(N-1) times its load: the part of the TTFT that
    the queue makes is below 80 % of what the target leaves for it, all tokens fit into the KV
    cache, and the ITL is below 80 % of its target.
  - thresholds (the default of its configuration, `optimization_target: throughput`): up by 1 when
    any engine's tokens, prompts that wait included, are above its KV cache; down by 1 when all are
    below 60 % of it.

With both, what throughput asks for is the floor of load. One replica at least; there is no zero.
The original's budget of 8 GPUs is left to the bounds. Its older correction by seen over expected
times (`min(1, cp)`, `ITL / cd`) has gone from the source, which fits iterations instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from stoker.simulate.baselines.dynamo_engine import Engine, Load
from stoker.simulate.baselines.forecasts import Forecast, Method
from stoker.simulate.baselines.readings import (
    Counters,
    extended_counters,
    queued_in_engines,
    scraped,
    traffic_in,
)
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot, Targets
from stoker.simulate.service import Service

_INTERVAL_S: Final = 180.0
_LOAD_S: Final = 5.0
_LENGTHS_S: Final = 320.0  # 64 samples, one each 5 s
_SENSITIVITY: Final = 0.8
_USE_UP: Final = 1.0
_USE_DOWN: Final = 0.6
_SCRAPE_S: Final = 15.0
_FORECASTS: Final[Method] = "arima"

Rule = Literal["sla", "thresholds"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What both loops keep."""

    requests: Forecast
    prompt: Forecast
    output: Forecast
    counters: tuple[Counters, ...] = ()
    lengths: tuple[float, float] = (0.0, 0.0)  # the last known of prompts and answers, in tokens
    floor: int = 1
    next_s: float = _INTERVAL_S  # when the next throughput pass is due


@dataclass(frozen=True, slots=True)
class Dynamo:
    """The planner, with one of its loops or both."""

    name: str
    service: Service
    targets: Targets
    pipeline: Pipeline
    forecast: Method | None = None
    load: Rule | None = None
    use_up: float = _USE_UP  # share of the KV cache

    def begin(self) -> Memory:
        """Nothing seen."""
        empty = Forecast(self.forecast or "constant")
        return Memory(empty, empty, empty)

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:
        """One pass of whatever is due."""
        newest = sample.latest
        if newest is None:
            return Decision(max(1, sample.wanted), "no metric yet", history)
        since = newest.time - max(_INTERVAL_S, _LENGTHS_S)
        memory = replace(
            history, counters=extended_counters(history.counters, sample.snapshots, since)
        )
        replicas, said = sample.wanted, "nothing due"
        if self.forecast and now >= memory.next_s:
            memory, replicas, said = self._planned(memory, newest, sample.wanted)
            memory = replace(memory, next_s=now + _INTERVAL_S)
        if self.load:
            seen = traffic_in(memory.counters, newest.time - _LENGTHS_S)
            if seen.requests and seen.output_tokens:
                memory = replace(memory, lengths=(seen.input_tokens, seen.output_tokens))
            asked, said = self._loaded(newest, sample, memory.lengths)
            replicas = sample.wanted if asked is None else max(asked, memory.floor)
            if self.forecast:
                said += f", floor {memory.floor}"
        return Decision(max(1, replicas), said, memory)

    def _planned(self, memory: Memory, newest: Snapshot, wanted: int) -> tuple[Memory, int, str]:
        """The throughput loop."""
        seen = traffic_in(memory.counters, newest.time - _INTERVAL_S)
        memory = replace(
            memory,
            requests=memory.requests.observed(float(seen.requests)),
            prompt=memory.prompt.observed(seen.input_tokens),
            output=memory.output.observed(seen.output_tokens),
        )
        prompt, output = memory.prompt.next, memory.output.next
        if prompt <= 0 or output <= 0 or seen.seconds <= 0:
            return memory, wanted, "no lengths to plan for"
        rate = memory.requests.next / seen.seconds
        best = Engine(self.service, prompt, output).best_rate(self.targets)
        planned = max(1, math.ceil(rate / best))
        said = f"{rate:.2f} requests/s forecast, {best:.2f} per replica"
        return replace(memory, floor=planned), planned, said

    def _loaded(
        self, newest: Snapshot, sample: Sample, lengths: tuple[float, float]
    ) -> tuple[int | None, str]:
        """The load loop; None: not even the floor counts."""
        count = len(newest.replicas)
        if sample.pending or sample.ready != sample.wanted:
            return None, "replicas on their way"
        if not count or count != sample.ready:
            return None, f"{count} of {sample.ready} report"
        engine = Engine(self.service, *lengths)
        loads = [engine.load_of(each) for each in queued_in_engines(newest).replicas]
        if self.load == "thresholds":
            return self._by_use(loads)
        if not all(lengths):
            return None, "no lengths yet"
        return self._by_latency(engine, loads)

    def _by_use(self, loads: Sequence[Load]) -> tuple[int, str]:
        shares = [
            (each.context_tokens + each.queued_tokens) / self.service.kv_tokens for each in loads
        ]
        count, said = len(loads), f"KV use up to {max(shares):.2f}"
        if any(each > self.use_up for each in shares):
            return count + 1, said
        if count > 1 and all(each < self.use_up * _USE_DOWN for each in shares):
            return count - 1, said
        return count, said

    def _by_latency(self, engine: Engine, loads: Sequence[Load]) -> tuple[int, str]:
        count = len(loads)
        ttfts, itls = (
            [engine.ttft_s(each) for each in loads],
            [engine.itl_s(each) for each in loads],
        )
        said = f"TTFT {min(ttfts):.2f} to {max(ttfts):.2f} s, ITL up to {max(itls):.3f} s"
        if min(ttfts) > self.targets.ttft_s or min(itls) > self.targets.itl_s:
            return count + 1, said
        if count > 1 and all(self._bears(engine, each, count) for each in loads):
            return count - 1, said
        return count, said

    def _bears(self, engine: Engine, load: Load, count: int) -> bool:
        """Whether this engine would bear the load of one fewer."""
        more = load.times(count / (count - 1))
        own = engine.ttft_s(replace(more, queued_tokens=0.0))
        left = (self.targets.ttft_s - own) * _SENSITIVITY
        tokens = more.context_tokens + more.queued_tokens
        itl = engine.itl_s(replace(more, context_tokens=tokens))
        return (
            engine.ttft_s(more) - own < left
            and tokens < self.service.kv_tokens
            and itl < self.targets.itl_s * _SENSITIVITY
        )


def dynamo(setting: Setting, parameter: float | None) -> Policy:
    """Both loops; the parameter is the share of the latency targets that they plan for (1)."""
    return _planner("dynamo", setting, parameter, _FORECASTS, "sla")


def dynamo_throughput(setting: Setting, parameter: float | None) -> Policy:
    """The throughput loop with its default forecast; the parameter is that of `dynamo`."""
    return _planner("dynamo-throughput", setting, parameter, _FORECASTS, None)


def dynamo_constant(setting: Setting, parameter: float | None) -> Policy:
    """The throughput loop with the last interval as the forecast."""
    return _planner("dynamo-constant", setting, parameter, "constant", None)


def dynamo_kalman(setting: Setting, parameter: float | None) -> Policy:
    """The throughput loop with a Kalman filter as the forecast."""
    return _planner("dynamo-kalman", setting, parameter, "kalman", None)


def dynamo_load(setting: Setting, parameter: float | None) -> Policy:
    """The load loop with latency targets; the parameter is that of `dynamo`."""
    return _planner("dynamo-load", setting, parameter, None, "sla")


def dynamo_thresholds(setting: Setting, parameter: float | None) -> Policy:
    """The load loop with thresholds; the parameter is the upper share of the KV cache (1)."""
    use = _USE_UP if parameter is None else max(parameter, 0.001)
    name = "dynamo-thresholds" if parameter is None else f"dynamo-thresholds:{parameter:g}"
    return Dynamo(
        name, setting.service, setting.targets, _reported(), load="thresholds", use_up=use
    )


def _planner(
    name: str,
    setting: Setting,
    parameter: float | None,
    forecast: Method | None,
    load: Rule | None,
) -> Policy:
    share = 1.0 if parameter is None else max(parameter, 0.001)
    targets = Targets(setting.targets.ttft_s * share, setting.targets.itl_s * share)
    name = name if parameter is None else f"{name}:{parameter:g}"
    pipeline = _reported() if load else scraped(_INTERVAL_S, _SCRAPE_S)
    return Dynamo(name, setting.service, targets, pipeline, forecast, load)


def _reported() -> Pipeline:
    # Engines publish the metrics of their iterations themselves.
    return Pipeline(tick_s=_LOAD_S, scrape_s=_LOAD_S)
