"""The contract between operator and worker: configuration, ports, paths and words.

The operator imports this module and nothing else of the worker. Operator N manages workers of
N-1 and N-2, so a field is only ever added, always with a default, and `CONTRACT_VERSION` counts
the changes that an older side would misread. Standard library only, Python 3.9: the worker runs on
the engine image's own interpreter.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Mapping

CONTRACT_VERSION = 1

# Ports of an engine pod.
ENGINE_PORT = 8000  # the engine's own OpenAI server, unmodified
WORKER_PORT = 8001  # the supervisor's probes, metrics and state

# Paths inside an engine pod. INSTALL_DIR is an emptyDir that the init container fills.
INSTALL_DIR = "/opt/stoker"
MODEL_DIR = "/models"
CACHE_DIR = "/var/cache/stoker-engine"
# Where engines of one model leave what they compiled for each other, if its volume has room.
COMPILED_DIR = "/var/cache/stoker-compiled"
# Where an engine that may be profiled writes its traces: a bounded volume of the pod's own.
PROFILE_DIR = "/var/cache/stoker-profile"
TERMINATION_LOG = "/dev/termination-log"

# One file, so that it is there whole or not at all. `-I -S`: the worker sees neither PYTHONPATH nor
# the image's site-packages, while the engine below it gets the pod's environment untouched.
WORKER_APP = INSTALL_DIR + "/stoker-worker.pyz"
INSTALL_COMMAND = ("python3", "-m", "stoker_worker", "install", INSTALL_DIR)
SERVE_COMMAND = ("python3", "-I", "-S", WORKER_APP, "serve")
# Followed by the model's folder and, where the operator allows pickles, by ALLOW_PICKLE. The
# worker's own image runs it; its answer, `{"facts": {…}}` or a Termination, is printed and left as
# the termination message.
FACTS_COMMAND = ("python3", "-m", "stoker_worker", "facts")
ALLOW_PICKLE = "--allow-pickle"
# Followed by the model's folder, where a cache fills one node after the other: an init container of
# the worker's image that ends once the model is there. It costs nothing where it is there already.
STAGE_COMMAND = ("python3", "-m", "stoker_worker", "stage")
STAGED_DIR = "/staged"  # weights in memory, where the spec asks for that
AWAIT_COMMAND = ("python3", "-m", "stoker_worker", "await")

# The kubelet keeps 4096 bytes of a message and 12 KiB of a pod's.
TERMINATION_BYTES = 4000

# The supervisor's HTTP paths.
PATH_READY = "/readyz"  # 200 only after one real token, and until draining or hung
PATH_LIVE = "/livez"  # 503 only when the supervisor itself cannot go on
PATH_METRICS = "/metrics"
# Whose pod this is, and the lines of the engine's metrics that scaling needs, as they are. Older
# workers do not have it and answer 404.
PATH_LOAD = "/load"
PATH_STATE = "/state"  # JSON: lifecycle state, start-up phases, last progress
PATH_GROUP = "/group"  # /group/RANK/TOKEN: a follower reports to its leader
# Answered on the pod's own loopback alone, which is where a port-forward ends, so it takes the
# right to open one. TOKEN is the caller's own, new for each trace; see profiling.py and tracing.py.
#   POST /profile/TOKEN/begin/STEPS  out of rotation, and record at most that many steps: 202, 409
#   GET  /profile/TOKEN              how far it is, as JSON; it also says that the caller lives
#   POST /profile/TOKEN/stop         enough: write the trace and go back into rotation
#   GET  /profile/TOKEN/file/N/AT    a piece of the N-th file from byte AT on
#   POST /profile/TOKEN/end          the files may go
# Workers that do not have it answer 404 to the GETs; one whose engine was started without its
# profiler, 409.
PATH_PROFILE = "/profile"
PROFILE_STEPS = 200  # of a trace, at most: a step of a large model takes about a megabyte
PROFILE_PIECE_BYTES = 256 * 1024

# A replica that spans pods: a group of one leader and its followers, as a LeaderWorkerSet makes
# it. These three variables are the LeaderWorkerSet controller's; the fourth is rendered by us.
ENV_GROUP_LEADER = "LWS_LEADER_ADDRESS"
ENV_GROUP_SIZE = "LWS_GROUP_SIZE"
ENV_GROUP_RANK = "LWS_WORKER_INDEX"
ENV_POD_IP = "STOKER_POD_IP"
# Who this pod is, so that nobody takes its numbers for another's that had the same address.
ENV_POD_NAME = "STOKER_POD_NAME"
ENV_POD_UID = "STOKER_POD_UID"
GROUP_PORT = 29500  # where the engines of a group find each other, on the leader
# How much longer than its leader a follower may stay, so that a drain never lacks a rank.
GROUP_MARGIN_S = 15

# Between the kill of an engine that overstayed and the kubelet's own kill of the worker.
KILL_MARGIN_S = 5

# Name of the environment variable that carries the WorkerConfig as JSON.
ENV_CONFIG = "STOKER_WORKER_CONFIG"
# Where `facts` leaves its answer, other than at TERMINATION_LOG.
ENV_TERMINATION_LOG = "STOKER_TERMINATION_LOG"


class ContractError(ValueError):
    """The configuration cannot be read: it names the field and what to write instead."""


class TerminationReason:
    """Why a worker ended, the first word of its termination message."""

    ENGINE_CRASHED = "EngineCrashed"
    ENGINE_HUNG = "EngineHung"
    OUT_OF_MEMORY = "OutOfMemory"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_INVALID = "ModelInvalid"
    MODEL_CORRUPT = "ModelCorrupt"  # a file is not what the model's manifest says
    PICKLE_WEIGHTS = "PickleWeights"
    CONFIG_INVALID = "ConfigInvalid"
    START_TIMED_OUT = "StartTimedOut"
    WARMUP_FAILED = "WarmupFailed"
    DRAIN_TIMED_OUT = "DrainTimedOut"
    GROUP_BROKEN = "GroupBroken"


class FactsReason:
    """Why a model has no facts, the reason in a `facts` command's termination message.

    docs/model-facts.md explains each and says what to do.
    """

    MODEL_NOT_FOUND = TerminationReason.MODEL_NOT_FOUND
    MODEL_CONFIG_MISSING = "ModelConfigMissing"
    MODEL_CONFIG_INVALID = "ModelConfigInvalid"
    DIMENSION_ABSURD = "DimensionAbsurd"
    STRUCTURE_UNKNOWN = "StructureUnknown"
    REMOTE_CODE = "RemoteCode"
    WEIGHTS_MISSING = "WeightsMissing"
    PICKLE_WEIGHTS = TerminationReason.PICKLE_WEIGHTS
    GGUF_ONLY = "GgufOnly"
    INDEX_INVALID = "IndexInvalid"
    SHARD_MISSING = "ShardMissing"
    TENSOR_MISSING = "TensorMissing"
    TENSOR_MISPLACED = "TensorMisplaced"
    FILE_TRUNCATED = "FileTruncated"
    HEADER_INVALID = "HeaderInvalid"
    HEADER_TOO_LONG = "HeaderTooLong"
    UNREADABLE = "Unreadable"


@dataclass(frozen=True)
class Termination:
    """What a worker leaves in its termination message (at most 4096 bytes) when it fails."""

    reason: str
    message: str
    contract: int = CONTRACT_VERSION

    def to_json(self) -> str:
        """Compact JSON, cut so that the kubelet keeps it whole."""
        message = self.message
        while True:
            cut = Termination(self.reason, message, self.contract)
            text = json.dumps(asdict(cut), ensure_ascii=True)
            if len(text) <= TERMINATION_BYTES:
                return text
            message = message[: len(message) // 2]

    @staticmethod
    def parse(text: str) -> Termination | None:
        """Read a termination message; None when it is not one of ours."""
        try:
            data = json.loads(text)
        except ValueError:
            return None
        if not isinstance(data, dict) or not isinstance(data.get("reason"), str):
            return None
        return Termination(
            data["reason"], str(data.get("message", "")), int(data.get("contract", 0))
        )


@dataclass(frozen=True)
class WorkerConfig:
    """Everything the supervisor has to know. Durations in seconds."""

    engine: str  # name of the engine driver, for example vllm
    model_path: str  # folder that holds config.json, below MODEL_DIR
    served_names: list[str]  # names the model answers to, the first is the main one
    args: dict[str, str] = field(default_factory=dict)  # engine flags without dashes
    contract: int = CONTRACT_VERSION
    # On SIGTERM: readiness goes, `settle_s` pass so that every picker has dropped the pod, then the
    # engine finishes what it accepted within `drain_s`.
    settle_s: float = 3.0
    drain_s: float = 120.0
    # A busy engine whose step counter stands still leaves rotation after `stall_ready_s` and is
    # restarted after `stall_restart_s`.
    stall_ready_s: float = 20.0
    stall_restart_s: float = 90.0
    # One real answer of this many tokens precedes readiness.
    warmup_tokens: int = 2
    # A slow load is no fault, so these two only end what would never end by itself: loading, and
    # the first answer, which may compile kernels.
    start_deadline_s: float = 3600.0
    warmup_deadline_s: float = 600.0
    heartbeat_s: float = 2.0
    # What the engine gets to release memory and leave, after the last answer.
    teardown_s: float = 15.0
    host: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known before it runs; "::" for IPv6
    engine_port: int = ENGINE_PORT
    worker_port: int = WORKER_PORT
    # The words before `serve`; empty: `vllm` where PATH has it, else this Python's own module.
    engine_command: list[str] = field(default_factory=list)
    termination_log: str = TERMINATION_LOG
    # Read the weights into the page cache while the engine still imports its code.
    prefetch: bool = True
    # Pods over which the replica is spread; what differs between them is in the environment.
    nodes: int = 1
    group_port: int = GROUP_PORT
    # Let the engine read weights that are pickles; reading one runs whatever code it holds.
    allow_pickle: bool = False
    # What says for whom compiled kernels are good, besides the node; empty: nothing is kept.
    compiled_key: str = ""
    compiled_dir: str = COMPILED_DIR
    compiled_bytes: int = 2 * 2**30  # of one snapshot
    # Where the engine writes traces of its profiler; empty: it is started without one.
    profile_dir: str = ""

    def grace_period_s(self) -> int:
        """What terminationGracePeriodSeconds must be at least, for a drain to run its course."""
        return math.ceil(self.settle_s + self.drain_s + self.teardown_s) + KILL_MARGIN_S

    def follower_grace_period_s(self) -> int:
        """Return the same for a follower, which leaves after its leader."""
        return self.grace_period_s() + GROUP_MARGIN_S

    def to_json(self) -> str:
        """Stable JSON: equal configurations give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> WorkerConfig:
        """Parse, ignoring fields of a newer operator; ContractError says what is wrong."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ContractError(f"{ENV_CONFIG} is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise ContractError(f"{ENV_CONFIG} must be a JSON object")
        return _from_mapping(data)


def _from_mapping(data: Mapping[str, Any]) -> WorkerConfig:
    missing = {"engine", "model_path", "served_names"} - set(data)
    if missing:
        raise ContractError(f"{ENV_CONFIG} lacks {', '.join(sorted(missing))}")
    values = {f.name: data[f.name] for f in fields(WorkerConfig) if f.name in data}
    for name, value in values.items():
        wanted = _what_is_wrong(name, value)
        if wanted:
            raise ContractError(f"{name} must be {wanted}, not {value!r}")
    return WorkerConfig(**values)


_NUMBERS = {f.name for f in fields(WorkerConfig) if f.type == "float"}
_WHOLE = {f.name for f in fields(WorkerConfig) if f.type == "int"}


def _what_is_wrong(name: str, value: object) -> str:
    """Say what the value should be: a wrong one would only fail later, and far from its cause."""
    if name in _NUMBERS | _WHOLE:
        kinds = (int, float) if name in _NUMBERS else (int,)
        good = isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < math.inf
        return "" if good else "a number of at least 0"
    if name in {"served_names", "engine_command"}:
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if good and (value or name != "served_names") else "a list of strings"
    if name == "args":
        good = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        return "" if good else "an object of strings"
    if name in {"prefetch", "allow_pickle"}:
        return "" if isinstance(value, bool) else "true or false"
    if name in {"compiled_key", "profile_dir"}:
        return "" if isinstance(value, str) else "a string"
    return "" if isinstance(value, str) and value else "a string that is not empty"
