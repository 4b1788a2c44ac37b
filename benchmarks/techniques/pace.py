"""Rungs that save time: prefix caching, speculation, batching, chunks, compiling."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.techniques import planned
from benchmarks.techniques.client import Ask, beside, closed, opened, static
from benchmarks.techniques.memory import speed
from benchmarks.techniques.rows import Row, change, times
from benchmarks.techniques.servers import BASE, Server, naive, vllm
from benchmarks.techniques.texts import alike, long_text, repeating, shared, varied
from e2e.load import median, percentile
from e2e.models import ensure_model

_BATCHES = (1, 4, 16)
_TOKENS = 4
_UNTIL = 4


def prefix_caching() -> list[Row]:
    """Twenty requests that begin alike, with and without."""
    model = ensure_model()
    asks = shared(20, words=1500)
    found: dict[str, float] = {}
    for state in ("true", "false"):
        with vllm(f"prefix caching {state}", model, {"enable-prefix-caching": state}) as server:
            closed(server, alike(4, 16), 1)
            before = _hits(server)
            run = closed(server, asks, 1)
            hits, queries = (now - then for now, then in zip(_hits(server), before, strict=True))
            found[f"ttftS {state}"] = median([each.ttft for each in run.answers[1:]]) or 0.0
            found[f"hitRate {state}"] = hits / queries if queries else 0.0
    on, off = found["ttftS true"], found["ttftS false"]
    plan = (planned.expected(model, 1, prompt).ttft_s.typical for prompt in (2750, 64))
    long, short = plan
    return [
        Row(
            "prefix caching",
            "a shared beginning is computed once",
            f"first token after {on * 1000:.0f} ms instead of {off * 1000:.0f} ms "
            f"({change(on, off)}), {found['hitRate true']:.0%} of the prompts' tokens were kept",
            f"{change(short, long)} for a prompt whose beginning is kept",
            found,
        )
    ]


def _hits(server: Server) -> tuple[float, float]:
    names = ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total")
    hits, queries = (server.metric(name) for name in names)
    return hits, queries


def speculation() -> list[Row]:
    """Drafts from the prompt itself: answers that repeat it, at three loads."""
    model = ensure_model()
    found: dict[str, dict[int, float]] = {}
    rows = []
    config = (
        '{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_min":2,"prompt_lookup_max":4'
    )
    ranges = (
        f',"num_speculative_tokens_per_batch_size":[[1,{_UNTIL},{_TOKENS}],[{_UNTIL + 1},16,0]]'
    )
    ways = {"none": {}, "always": {"speculative-config": config + "}"},
            f"up to {_UNTIL}": {"speculative-config": config + ranges + "}"}}  # fmt: skip
    for way, flags in ways.items():
        found[way] = {}
        with vllm(f"speculation: {way}", model, flags) as server:
            closed(server, repeating(2, 64), 1)  # the first one that drafts compiles
            for batch in _BATCHES:
                drafted, accepted = _drafts(server)
                run = closed(server, repeating(3 * batch, 128), batch)
                found[way][batch] = run.tokens_per_s
                if way == "none":
                    continue
                now = _drafts(server)
                plan = _planned_speculation(model, batch, way)
                numbers = {
                    "tokensPerS": run.tokens_per_s,
                    "tokensPerSWithout": found["none"][batch],
                    "drafted": now[0] - drafted,
                    "accepted": now[1] - accepted,
                }
                rows.append(
                    Row(
                        f"speculation by n-grams, {way}, {batch} at once",
                        "2 to 4\N{MULTIPLICATION SIGN}",
                        f"{times(run.tokens_per_s, found['none'][batch])} tokens/s, "
                        + _acceptance(now[0] - drafted, now[1] - accepted),
                        plan,
                        numbers,
                    )
                )
    return rows


def _drafts(server: Server) -> tuple[float, float]:
    names = ("draft", "accepted")
    drafted, accepted = (
        server.metric(f"vllm:spec_decode_num_{name}_tokens_total") for name in names
    )
    return drafted, accepted


def _acceptance(drafted: float, accepted: float) -> str:
    if not drafted:
        return "no drafts"
    return f"{accepted / drafted:.0%} of {drafted:.0f} drafted tokens accepted"


def _planned_speculation(model: Path, batch: int, way: str) -> str:
    until = 0 if way == "always" else _UNTIL
    on = planned.expected(
        model, batch, speculation="ngram", speculative_tokens=_TOKENS, speculative_until=until
    )
    off = planned.expected(model, batch)
    return f"{times(on.output_tokens_per_s.typical, off.output_tokens_per_s.typical)} tokens/s"


def batching() -> list[Row]:
    """Sixteen at once, against one by one, against batches that wait, against a naive server."""
    model = ensure_model()
    asks = varied(96)
    with vllm("batching", model) as server:
        closed(server, asks[:16], 16)
        together = closed(server, asks, 16).tokens_per_s
        waiting = static(server, asks, 16).tokens_per_s
        single = closed(server, asks[:16], 1)
    alone = single.tokens_per_s
    with naive(model) as server:
        closed(server, asks[:1], 1)
        simple = closed(server, asks[:16], 16).tokens_per_s
    plan = [planned.expected(model, load).output_tokens_per_s.typical for load in (16, 1)]
    numbers = {"continuous": together, "static": waiting, "oneByOne": alone, "naive": simple}
    rows = [
        Row("continuous batching, over one by one", "10\N{MULTIPLICATION SIGN}",
            f"{times(together, alone)} tokens/s ({together:.0f} over {alone:.0f})",
            f"{times(*plan)}", numbers),
        Row("over static batches of 16", "2 to 8\N{MULTIPLICATION SIGN}",
            f"{times(together, waiting)} tokens/s ({waiting:.0f})", "", numbers),
        Row("over transformers serve", "14 to 24\N{MULTIPLICATION SIGN} (OPT-13B, A100)",
            f"{times(together, simple)} tokens/s ({simple:.0f})", "", numbers),
    ]  # fmt: skip
    # As many requests as one by one can just carry, at random: what the slowest user sees.
    each_s = single.seconds / 16
    rows.append(_tail(model, asks[:64], 0.8 / each_s))
    return rows


def _tail(model: Path, asks: list[Ask], rate: float) -> Row:
    found = {}
    for name, most in (("batched", BASE["max-num-seqs"]), ("oneByOne", "1")):
        with vllm(f"{name}, open loop", model, {"max-num-seqs": most}) as server:
            closed(server, asks[:4], 4)
            run = opened(server, asks, rate)
            found[name] = percentile([each.seconds for each in run.answers], 99) or 0.0
    return Row(
        f"P99 at {rate:.1f} requests/s that arrive at random",
        "\N{MINUS SIGN}40 to \N{MINUS SIGN}60 % from batching",
        f"{change(found['batched'], found['oneByOne'])} ({found['batched']:.2f} s instead of "
        f"{found['oneByOne']:.2f} s)",
        "",
        {**found, "requestsPerS": rate},
    )


def chunked_prefill() -> list[Row]:
    """The longest silence of a stream while long prompts of others arrive."""
    model = ensure_model()
    watched = Ask(long_text(20), 400)
    # Each begins elsewhere, so that no prefix is kept.
    others = [Ask(long_text(2000, skipped=37 * number), 8) for number in range(1, 6)]
    found = {}
    ways = {
        "on": {"enable-chunked-prefill": "true", "max-num-batched-tokens": "256"},
        "off": {"enable-chunked-prefill": "false", "max-num-batched-tokens": "4096"},
    }
    for name, flags in ways.items():
        with vllm(f"chunked prefill {name}", model, flags) as server:
            closed(server, [Ask(long_text(2000, skipped=5), 8), *alike(2, 16)], 1)
            found[name] = beside(server, watched, others, every_s=0.4).longest_gap
    on, off = found["on"], found["off"]
    return [
        Row(
            "chunked prefill (256 tokens a step)",
            "long prompts do not hold up others",
            f"longest silence of a stream {on * 1000:.0f} ms instead of {off * 1000:.0f} ms "
            f"({change(on, off)})",
            "",
            found,
        )
    ]


def compiling() -> list[Row]:
    """torch.compile: what it costs at the start, once and again, and what it gives."""
    model = ensure_model()
    found: dict[str, float] = {}
    with vllm("not compiled", model) as server:
        found["eagerStartS"], found["eagerTokensPerS"] = server.start_s, speed(server, 16)
    with tempfile.TemporaryDirectory(prefix="stoker-compiled-") as kept:
        for name in ("cold", "warm"):
            flags = {"enforce-eager": "false"}
            with vllm(f"compiled, {name} cache", model, flags, Path(kept)) as server:
                found[f"{name}StartS"] = server.start_s
                found["compiledTokensPerS"] = speed(server, 16)
    plan = [
        planned.expected(model, 16, compile=state).output_tokens_per_s.typical
        for state in (True, False)
    ]
    return [
        Row(
            "torch.compile",
            "a warm cache saves 12 s of 46 s",
            f"{times(found['compiledTokensPerS'], found['eagerTokensPerS'])} tokens/s at 16; start "
            f"{found['eagerStartS']:.0f} s without, {found['coldStartS']:.0f} s cold, "
            f"{found['warmStartS']:.0f} s warm",
            f"{times(*plan)} tokens/s",
            found,
        )
    ]
