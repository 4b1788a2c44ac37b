"""vLLM: its command line, its endpoints, its metrics, and how to read its last words.

Written against 0.32, whose command line knows four kinds of flags: `--flag=value`, switches with
a negation (`--flag`, `--no-flag`), a few bare ones that are simply left out to say no, and a few of
several words.

A replica that spans pods is one engine on several nodes without Ray: every pod gets the same flags
and its rank, the leader alone has an API server, the others are headless. It deals the ranks of
tensor, pipeline and data parallelism out by itself, in that order, the same number to each pod.
"""

from __future__ import annotations

import json
import math
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from stoker_worker.contract import ContractError, Termination, TerminationReason, WorkerConfig
from stoker_worker.engines.base import Place, Request
from stoker_worker.events import EngineCounters, Sample

# The worker sets these, or cannot do its work when they are set: without statistics there is no
# heartbeat, a headless server or a Unix socket cannot be asked.
OWNED = frozenset(
    {
        "disable-log-stats",
        "enable-server-load-tracking",
        "grpc",
        "headless",
        "host",
        "master-addr",
        "master-port",
        "model",
        "model-tag",
        "nnodes",
        "node-rank",
        "port",
        "profiler-config",
        "served-model-name",
        "shutdown-timeout",
        "ssl-certfile",
        "ssl-keyfile",
        "uds",
    }
)
# In a group the executor is ours to set: only `mp` spans pods without Ray. And `uni`, which saves a
# process where there is one rank, cannot run two.
EXECUTOR = "distributed-executor-backend"
_SIZES = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")
# Flags of several words; a value is divided at its blanks.
MANY = frozenset({"lora-modules"})
BARE_SWITCHES = frozenset({"aggregate-engine-logging", "data-parallel-multi-port-external-lb"})
# Read every few seconds by us and many times a second by the endpoint picker.
QUIET_ENDPOINTS = "/health,/metrics,/load,/v1/models"

_STEPS = b"iteration_tokens_total_count"
_CACHE = b"kv_cache_usage_perc"
# Four kinds of lines out of six hundred: the rest is never parsed.
_METRIC = re.compile(
    rb"^vllm:(iteration_tokens_total_count|kv_cache_usage_perc|num_requests_(?:running|waiting))"
    rb"(?:\{(.*)\})? (\S+)",
    re.MULTILINE,
)
# What scaling reads, under the names of all versions: see the operator's telemetry.dialects and
# telemetry.timings. Buckets only of the two times that targets are set for.
_LOAD = re.compile(
    rb"^vllm:(?:num_requests_(?:running|waiting)|(?:kv|gpu)_cache_usage_perc|cache_config_info"
    rb"|num_preemptions_total"
    rb"|(?:time_to_first_token|inter_token_latency|time_per_output_token)_seconds_(?:bucket|count|sum)"
    rb"|request_(?:generation_tokens|queue_time_seconds|prompt_tokens|prefill_kv_computed_tokens)"
    rb"_(?:count|sum))[ {].*$",
    re.MULTILINE,
)
# At least eight tokens, however they are cut: with fewer, vLLM 0.32 on a processor with AMX uses
# its tiles before anything has asked the kernel for them, and dies of an illegal instruction. A
# longer prompt makes oneDNN ask, once for the process.
_PROMPT = "one two three four five six seven eight nine ten eleven twelve"
_VERSION = re.compile(r"[\w.+-]{1,64}")
_ENGINE = re.compile(rb'(?:^|,)engine="([^"]*)"')

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PROCESS = re.compile(r"^\([\w\-:. ]+ pid=\d+\) ")
_LEVEL = re.compile(r"^(?:ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?")
_EXCEPTION = re.compile(
    r"^(?:[A-Za-z_][\w]*\.)*[A-Za-z_]\w*(?:Error|Exception|Failure|Exit)\b(?::|$)"
)
_USAGE = re.compile(r"\berror: ")
# What one process says because another one failed: true, and of no use to a reader.
_ECHO = re.compile(
    r"See (?:root cause|stack trace)|EngineDeadError|^SystemExit|CancelledError|BrokenPipeError"
    r"|initialization failed due to an exception in a background process"
)
_LOADING = ", in load_weights"
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|No available memory for the cache blocks"
    r"|Insufficient space in /dev/shm|less than desired (?:GPU|CPU) memory utilization"
    r"|KV cache is needed, which is larger than the available|Cannot allocate memory",
    re.IGNORECASE,
)
_BAD_MODEL = re.compile(
    r"SafetensorError|deserializing header|are not supported for now|does not recognize this archi"
    r"|Cannot find any model weights|No model architectures are specified|JSONDecodeError"
    r"|not (?:a )?valid JSON|does not appear to have a file named|size mismatch"
    r"|weights were not initialized from checkpoint|Error(?:no 2\])? .*safetensors"
    r"|Can't load (?:the configuration|tokenizer)|Couldn't instantiate the backend tokenizer"
    r"|model type `?\S+`? but Transformers|tokenizer class .* does not exist",
    re.IGNORECASE,
)


class Vllm:
    """The driver of `vllm serve`."""

    program = "vllm"
    module = "vllm.entrypoints.cli.main"

    @property
    def health(self) -> Request:
        """Unlike /v1/models it needs no key, and it fails once the engine core is dead."""
        return Request("/health")

    @property
    def looks(self) -> Tuple[Request, ...]:
        """The counters, and how many requests the API server holds."""
        return (Request("/metrics"), Request("/load"))

    @property
    def version(self) -> Request:
        """Needs no key."""
        return Request("/version")

    def read_version(self, body: bytes) -> str:
        """Read `{"version": …}`."""
        try:
            version = json.loads(body)["version"]
        except (ValueError, KeyError, TypeError):
            return ""
        return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""

    @property
    def metrics(self) -> Request:
        """All of them: vLLM has no smaller page."""
        return Request("/metrics")

    def load_lines(self, body: bytes) -> bytes:
        """One line in ten."""
        return b"".join(line + b"\n" for line in _LOAD.findall(body))

    def arguments(self, config: WorkerConfig, place: Optional[Place] = None) -> List[str]:
        """Put the model first, what we own next, and the user's flags in a stable order."""
        given = {name.lstrip("-").replace("_", "-"): value for name, value in config.args.items()}
        owned = sorted(OWNED & set(given))
        if owned:
            raise ContractError(f"engine flags set by Stoker itself: {', '.join(owned)}")
        arguments = [
            "serve",
            config.model_path,
            f"--host={config.host}",
            f"--port={config.engine_port}",
            # Without it SIGTERM cuts every stream without a word.
            f"--shutdown-timeout={max(1, math.ceil(config.drain_s))}",
            "--enable-server-load-tracking",
            "--served-model-name",
            *config.served_names,
        ]
        if "disable-access-log-for-endpoints" not in given:
            arguments.append(f"--disable-access-log-for-endpoints={QUIET_ENDPOINTS}")
        several = any(given.get(name, "1") != "1" for name in _SIZES)
        if place is not None or (several and given.get(EXECUTOR) == "uni"):
            given.pop(EXECUTOR, None)
        if place is not None:
            arguments += _launch(place)
        if config.profile_dir:
            arguments.append(f"--profiler-config={_profiler(config.profile_dir)}")
        for name in sorted(given):
            arguments += _flag(name, given[name])
        return arguments

    def environment(self, base: Mapping[str, str], place: Optional[Place] = None) -> Dict[str, str]:
        """Nothing is reported to anybody unless the pod asks for it."""
        own = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        if place is not None:
            # Otherwise a rank offers the address of whatever interface it finds first.
            own["VLLM_HOST_IP"] = place.address
            if place.interface:
                own["GLOO_SOCKET_IFNAME"] = place.interface
        return {**own, **base}

    def probes(
        self, config: WorkerConfig, tokens: int, env: Mapping[str, str]
    ) -> Tuple[Request, ...]:
        """Completions for generating models, embeddings or pooling for the others."""
        headers = {"Content-Type": "application/json"}
        key = env.get("VLLM_API_KEY")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        name = config.served_names[0]
        completion = {
            "model": name,
            "prompt": _PROMPT,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        embedding = {"model": name, "input": _PROMPT}
        bodies = (
            ("/v1/completions", completion),
            ("/v1/embeddings", embedding),
            ("/pooling", embedding),
        )
        return tuple(Request(path, json.dumps(body).encode(), headers) for path, body in bodies)

    def is_answer(self, body: bytes) -> bool:
        """A completion with tokens in it, or a vector."""
        try:
            answer = json.loads(body)
        except ValueError:
            return False
        if not isinstance(answer, dict):
            return False
        if answer.get("data"):
            return True
        usage = answer.get("usage")
        return isinstance(usage, dict) and bool(usage.get("completion_tokens"))

    def read_sample(self, bodies: Sequence[Optional[bytes]]) -> Optional[Sample]:
        """Add up each engine's lines: a server of several processes has several per engine."""
        metrics, load = bodies
        if metrics is None:
            return None
        steps: Dict[str, float] = {}
        cache: Dict[str, float] = {}
        outstanding: Dict[str, float] = {}
        for found in _METRIC.finditer(metrics):
            name, labels, value = found.groups()
            into = {_STEPS: steps, _CACHE: cache}.get(name, outstanding)
            engine = _ENGINE.search(labels or b"")
            key = engine.group(1).decode() if engine else ""
            into[key] = into.get(key, 0.0) + _number(value)
        engines = tuple(
            EngineCounters(name, steps[name], outstanding.get(name, 0.0), cache.get(name, 0.0))
            for name in sorted(steps)
        )
        return Sample(engines, _read_load(load))

    def start_profiler(self, steps: int) -> Request:
        """The workers stop by themselves after that many steps, and write then."""
        body = json.dumps({"max_iterations": steps}).encode()
        return Request("/start_profile", body, {"Content-Type": "application/json"})

    @property
    def stop_profiler(self) -> Request:
        """Also after the last step: until then no other trace can be begun."""
        return Request("/stop_profile", b"")

    def explain(self, code: int, log: Sequence[str]) -> Termination:
        """Find the root cause: the last exception that is not the echo of another one."""
        cause = last_error(log)
        if not cause:
            text = f"the engine ended with exit status {code} and said nothing"
            return Termination(TerminationReason.ENGINE_CRASHED, text)
        reason = TerminationReason.ENGINE_CRASHED
        if _OUT_OF_MEMORY.search(cause):
            reason = TerminationReason.OUT_OF_MEMORY
        elif _BAD_MODEL.search(cause):
            reason = TerminationReason.MODEL_INVALID
        elif any(_LOADING in line for line in log):
            # Weights that do not fit their configuration fail in a hundred ways, all of them here.
            reason = TerminationReason.MODEL_INVALID
            cause = f"the weights cannot be loaded: {cause}"
        elif code == 2 and _USAGE.search(cause):  # argparse's own exit status
            reason = TerminationReason.CONFIG_INVALID
        return Termination(reason, cause)


def _profiler(folder: str) -> str:
    # Without Python's stacks a trace is a tenth of the size; the API server's own part would not
    # end with the steps.
    config = {
        "ignore_frontend": True,
        "profiler": "torch",
        "torch_profiler_dir": folder,
        "torch_profiler_with_stack": False,
    }
    return json.dumps(config, separators=(",", ":"))


def _launch(place: Place) -> List[str]:
    arguments = [
        f"--{EXECUTOR}=mp",
        f"--nnodes={place.nodes}",
        f"--node-rank={place.rank}",
        f"--master-addr={place.leader}",
        f"--master-port={place.port}",
    ]
    return arguments if place.rank == 0 else [*arguments, "--headless"]


def _flag(name: str, value: str) -> List[str]:
    if name in MANY:
        return [f"--{name}", *value.split()]
    if value == "true":
        return [f"--{name}"]
    if value == "false":
        return [] if name in BARE_SWITCHES else [f"--no-{name}"]
    return [f"--{name}={value}"]  # one word, so that a value may begin with a dash


def _number(text: bytes) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _read_load(body: Optional[bytes]) -> Optional[int]:
    if body is None:
        return None
    try:
        load = json.loads(body)["server_load"]
    except (ValueError, KeyError, TypeError):
        return None
    return load if isinstance(load, int) else None


def last_error(log: Sequence[str]) -> str:
    """Pick the line that a person would copy into a search engine."""
    lines = [_plain(line) for line in log]
    echo = fallback = ""
    for at in range(len(lines) - 1, -1, -1):
        line, is_error = lines[at]
        if not (_EXCEPTION.match(line) or _USAGE.search(line)):
            fallback = fallback or (line if is_error else "")
            continue
        text = _with_continuation(lines, at)
        if not _ECHO.search(text):
            return text
        echo = echo or text
    return echo or fallback or next((line for line, _ in reversed(lines) if line.strip()), "")


def _plain(line: str) -> Tuple[str, bool]:
    """Take colours, process and level off; say whether the level was an error."""
    text = _PROCESS.sub("", _ANSI.sub("", line.rstrip()))
    bare = _LEVEL.sub("", text)
    return bare, bare is not text and bare != text


def _with_continuation(lines: Sequence[Tuple[str, bool]], at: int) -> str:
    # Pydantic says what is wrong one line below, indented.
    following = []
    for line, _ in lines[at + 1 : at + 3]:
        if not line.startswith("  ") or line.lstrip().startswith(("File ", "For further")):
            break
        following.append(line.strip())
    return " ".join([lines[at][0].strip(), *following])
