"""The page of one service, second part: what happens inside the engines and their machines."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    GREY,
    WARN,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    rising,
)

BATCH: Final = Row(
    "Batch",
    (
        Panel(
            "Requests in the batch, by replica",
            "Requests that each replica computes at once. "
            "Bad: one replica far above the others: the picker sends too much to it, or the others "
            "do not answer. At the limit (max-num-seqs) for long: see 'Waiting requests'.",
            "short",
            Scenario.BASE,
            (Target("sum by (pod) (stoker:requests_running{@revision})", "{{pod}}"),),
            decimals=0,
        ),
        Panel(
            "Tokens in each step",
            "How many tokens one step of an engine computes, in the mean: vLLM's own histogram. "
            "Bad: near the batch limit while requests wait: the limit holds the accelerator back. "
            "A few tokens at full load: the accelerator waits for memory, larger batches are free.",
            "short",
            Scenario.BASE,
            (
                Target(
                    """
                    sum by (pod)
                      (rate(vllm:iteration_tokens_total_sum{@revision}[$__rate_interval]))
                    / sum by (pod)
                      (rate(vllm:iteration_tokens_total_count{@revision}[$__rate_interval]))
                    """,
                    "{{pod}}",
                ),
            ),
        ),
        Panel(
            "Length of prompts and answers",
            "Mean tokens of a request, by the engines' own counts. "
            "Bad: prompts that grow over days: first tokens come later and the KV cache fills, "
            "though the number of requests is the same.",
            "short",
            Scenario.BASE,
            (
                Target(
                    """
                    sum(rate(stoker:prompt_tokens_total{@revision}[$__rate_interval]))
                    / sum(rate(stoker:requests_finished_total{@revision}[$__rate_interval]))
                    """,
                    "prompt",
                    BLUE,
                ),
                Target(
                    """
                    sum(rate(stoker:generation_tokens_total{@revision}[$__rate_interval]))
                    / sum(rate(stoker:requests_finished_total{@revision}[$__rate_interval]))
                    """,
                    "answer",
                    GREEN,
                ),
            ),
        ),
        Panel(
            "How requests ended",
            "By the engine's own reason: stop (the model was done), length (the limit of tokens), "
            "abort (the client or a timeout went away), error. "
            "Bad: abort or error rises: users gave up, or the engine failed.",
            "reqps",
            Scenario.BASE,
            (
                Target(
                    "sum by (finished_reason) "
                    "(rate(stoker:requests_finished_total{@revision}[$__rate_interval]))",
                    "{{finished_reason}}",
                ),
            ),
            Kind.STACK,
            colours=(("stop", GOOD), ("length", BLUE), ("abort", WARN), ("error", BAD)),
        ),
    ),
)

CACHE: Final = Row(
    "KV cache and prefix cache",
    (
        Panel(
            "KV cache in use, by replica",
            "Share of the KV cache that running requests hold. "
            "Bad: above 90 %: requests wait for room or are pushed out of the batch. "
            "Remedies: another replica, shorter contexts, an 8-bit KV cache.",
            "percentunit",
            Scenario.BASE,
            (Target("max by (pod) (stoker:kv_cache_usage_ratio{@revision})", "{{pod}}"),),
            steps=rising(0.8, 0.9),
            maximum=1,
        ),
        Panel(
            "Requests pushed out of the batch",
            "Preemptions: the KV cache was full, and a running request has to be computed again. "
            "Bad: anything that lasts: work is done twice.",
            "reqps",
            Scenario.BASE,
            (
                Target(
                    "sum by (pod) (rate(stoker:preemptions_total{@revision}[$__rate_interval]))",
                    "{{pod}}",
                ),
            ),
        ),
        Panel(
            "Prefix cache: share of prompt tokens found",
            "Prompts that begin alike are computed once; the picker sends them to the replica that "
            "has them. Bad: near zero although prompts share a beginning (a system prompt, a "
            "conversation): prefix caching is off, or the KV cache is too small to keep anything.",
            "percentunit",
            Scenario.PREFIXES,
            (
                Target(
                    """
                    sum by (revision)
                      (rate(stoker:prefix_cache_hits_total{@revision}[$__rate_interval]))
                    / sum by (revision)
                      (rate(stoker:prefix_cache_queries_total{@revision}[$__rate_interval]))
                    """,
                    "{{revision}}",
                ),
            ),
            maximum=1,
        ),
        Panel(
            "Prompt tokens: found and computed",
            "What the prefix cache saves, in tokens each second. "
            "Bad: computed tokens rise at the same load: something in front of the prompts changed "
            "(a date in the system prompt is enough), and nothing matches any more.",
            "short",
            Scenario.PREFIXES,
            (
                Target(
                    "sum(rate(stoker:prefix_cache_hits_total{@revision}[$__rate_interval]))",
                    "found",
                    GREEN,
                ),
                Target(
                    """
                    sum(rate(stoker:prefix_cache_queries_total{@revision}[$__rate_interval]))
                    - sum(rate(stoker:prefix_cache_hits_total{@revision}[$__rate_interval]))
                    """,
                    "computed",
                    BLUE,
                ),
            ),
            Kind.STACK,
        ),
    ),
)

SPECULATION: Final = Row(
    "Speculation",
    (
        Panel(
            "Share of proposed tokens that were accepted",
            "Speculative decoding proposes tokens that the model then checks. "
            "Bad: below about 30 %: checking costs more than it brings; switch it off or take "
            "another draft. Empty where the service does not speculate.",
            "percentunit",
            Scenario.SPECULATION,
            (
                Target(
                    """
                    sum by (revision)
                      (rate(stoker:spec_accepted_tokens_total{@revision}[$__rate_interval]))
                    / sum by (revision)
                      (rate(stoker:spec_draft_tokens_total{@revision}[$__rate_interval]))
                    """,
                    "{{revision}}",
                ),
            ),
            maximum=1,
            steps=((None, BAD), (0.3, WARN), (0.5, GOOD)),
        ),
        Panel(
            "Proposed and accepted tokens",
            "How much is proposed each second, and how much of it holds. "
            "Bad: many proposals and few accepted, above all under high load, where the "
            "accelerator has no time to spare. Zero under load is right where a limit is set.",
            "short",
            Scenario.SPECULATION,
            (
                Target(
                    "sum(rate(stoker:spec_draft_tokens_total{@revision}[$__rate_interval]))",
                    "proposed",
                    BLUE,
                ),
                Target(
                    "sum(rate(stoker:spec_accepted_tokens_total{@revision}[$__rate_interval]))",
                    "accepted",
                    GREEN,
                ),
            ),
        ),
    ),
)

ACCELERATORS: Final = Row(
    "Accelerators",
    (
        Panel(
            "Arithmetic in use (MFU)",
            "Operations that the engine did, over what its accelerators can do at best. 40 to 60 % "
            "while prompts are read is good; a few percent is normal while answers are written. "
            "Bad: low at full load with memory bandwidth low too: the host holds it back. "
            "Nothing here: the catalogue does not know the accelerator's peaks, or the engine does "
            "not count: enable-mfu-metrics is false, or its version does not know the model.",
            "percentunit",
            Scenario.HARDWARE,
            (Target("max(stoker:mfu:ratio_rate5m{@service})", "MFU", BLUE),),
            maximum=1,
        ),
        Panel(
            "Memory bandwidth in use",
            "Bytes that the engine moved, over what its accelerators can move at best. "
            "Bad: above 70 % with slow tokens: it is bound by memory; quantized weights or a "
            "quantized KV cache make it faster, more operations per second would not. "
            "Nothing here: as beside it.",
            "percentunit",
            Scenario.HARDWARE,
            (Target("max(stoker:memory_bandwidth_use:ratio_rate5m{@service})", "use", BLUE),),
            maximum=1,
        ),
        Panel(
            "GPU busy, by replica",
            "Share of time in which any kernel ran, by DCGM or AMD's exporter. A small kernel "
            "counts as much as a large one: near 100 % says that it is not idle, no more. "
            "Bad: low while requests wait: the engine stalls, or its host is too slow.",
            "percentunit",
            Scenario.GPU,
            (Target("avg by (pod) (stoker:gpu_utilization_ratio{@revision})", "{{pod}}"),),
            maximum=1,
        ),
        Panel(
            "GPU memory in use, by replica",
            "Memory that is taken on the accelerators, and what there is (dashed). An engine takes "
            "its share at the start, and then it stays. "
            "Bad: it grows after the start, or another process is on the same GPU.",
            "bytes",
            Scenario.GPU,
            (
                Target("sum by (pod) (stoker:gpu_memory_used_bytes{@revision})", "{{pod}}"),
                Target(
                    "max(sum by (pod) (stoker:gpu_memory_total_bytes{@revision}))",
                    "there is",
                    GREY,
                    dashed=True,
                ),
            ),
        ),
    ),
)

HOST: Final = Row(
    "The engines' hosts, and what the plan did not foresee",
    (
        Panel(
            "CPU cores in use, by replica",
            "Processor time of the engine each second. "
            "Bad: flat at the pod's limit while the GPU is not busy: the engine's own Python is "
            "the bottleneck; give it more CPU.",
            "short",
            Scenario.BASE,
            (
                Target(
                    "sum by (pod) "
                    "(rate(stoker:engine_cpu_seconds_total{@revision}[$__rate_interval]))",
                    "{{pod}}",
                ),
            ),
        ),
        Panel(
            "Host memory in use, by replica",
            "Memory of the engine's container, or of its process. "
            "Bad: it rises without end: the kernel kills the pod at its limit.",
            "bytes",
            Scenario.BASE,
            (Target("sum by (pod) (stoker:engine_memory_bytes{@revision})", "{{pod}}"),),
        ),
        Panel(
            "Measured, over what was planned",
            "What engines tell of themselves, over the plan's figure for it: 1 is as planned. "
            "Bad: far from 1 for long: replicas hold less than was thought, or the target of the "
            "plan cannot be met; `kubectl stoker why` and status.plan.proposals say what to do.",
            "short",
            Scenario.BASE,
            (Target("max by (quantity) (stoker_plan_residual_ratio{@service})", "{{quantity}}"),),
            minimum=None,
            runbooks=("StokerPlanResidualLarge",),
        ),
        Panel(
            "Engines replaced",
            "Engines that Stoker took away because they crashed or hung, by reason. "
            "Bad: any. One may be a machine's fault; several are the model's, its memory's or the "
            "engine's version's. The pod's last words are in the InferenceService's events.",
            "short",
            Scenario.FAULT,
            (
                Target(
                    kit.counted("stoker_engine_replacements_total", "@service", "reason"),
                    "{{reason}}",
                ),
            ),
            Kind.BARS,
            runbooks=("StokerEngineCrashLoop", "StokerEngineHung"),
            nothing="none in this time",
        ),
        Panel(
            "Longest silence, by replica",
            "Age of the last sign that an engine makes progress, or has nothing to do: what the "
            "watchdog beside it looks at. "
            "Bad: a line that climbs while requests run: the engine hangs; at its deadline it "
            "leaves the rotation, and is then replaced.",
            "s",
            Scenario.BASE,
            (Target("max by (pod) (stoker_worker_quiet_seconds{@revision})", "{{pod}}"),),
            runbooks=("StokerEngineHung",),
        ),
        Panel(
            "Times out of rotation",
            "How often an engine made no progress and got no requests for a while. "
            "Bad: any: an answer stood still in front of somebody.",
            "short",
            Scenario.FAULT,
            (Target(kit.counted("stoker_worker_stalls_total", "@revision", "pod"), "{{pod}}"),),
            Kind.BARS,
            runbooks=("StokerEngineHung",),
            nothing="none in this time",
        ),
    ),
)
