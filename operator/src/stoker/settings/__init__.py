"""The administrator's file, `/etc/stoker/config.yaml`, as a typed value.

The chart writes it from its values; its keys are camelCase. Nothing here is guessed: an unknown key
is an error, because a misspelt allow-list that silently stays empty is found only by a user. Every
error names the file, the field and what to write, all of them at once.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stoker.settings.caches import CacheSettings
from stoker.settings.section import Section

DEFAULT_PATH: Final = Path("/etc/stoker/config.yaml")

Image = Annotated[str, Field(min_length=1, max_length=512)]


class ConfigError(ValueError):
    """The operator cannot use its configuration; each line says where, what and the remedy."""


class Images(Section):
    """The images that Stoker itself brings."""

    worker: Image = Field(description="image of the worker, for example ghcr.io/stoker/worker:1.0")
    envoy: Image = Field(description="image of the frontend's Envoy")
    picker: Image = Field(description="image of the frontend's endpoint picker")


class MountSettings(Section):
    """A claim that every engine container mounts read-only."""

    claim: str = Field(description="name of a PersistentVolumeClaim of the service's namespace")
    path: str = Field(pattern="^/", description="absolute path in the engine container")


class EngineSettings(Section):
    """One entry of the engine catalogue."""

    image: Image = Field(description="stock image of the engine, by digest if you can")
    python: str = Field("python3", description="interpreter in the image, 3.9 or newer")
    mounts: tuple[MountSettings, ...] = Field((), description="list of {claim, path}")
    env: dict[str, str] = Field(default_factory=dict, description="environment of every engine")
    args: dict[str, str] = Field(default_factory=dict, description="default engine flags")
    allowed_args: frozenset[str] = Field(frozenset(), description="engine flags users may set")
    allowed_env: frozenset[str] = Field(frozenset(), description="variables users may set")
    image_prefixes: tuple[str, ...] = Field((), description="prefixes of images users may name")
    plugins: tuple[str, ...] = Field(
        (), description="Python packages that the image brings, for example [vllm-bnb-plugin]"
    )
    concurrency: int = Field(256, ge=1, description="requests one replica computes at once")
    shared_memory: str = Field("1Gi", description="size of /dev/shm, for example 1Gi")


class TolerationSettings(Section):
    """A toleration of Kubernetes."""

    key: str | None = Field(None, description="taint key")
    operator: str | None = Field(None, pattern="^(Exists|Equal)$", description="Exists or Equal")
    value: str | None = Field(None, description="taint value")
    effect: str | None = Field(None, description="NoSchedule, PreferNoSchedule or NoExecute")


Rate = Annotated[float, Field(gt=0, le=1_000_000)]


class TflopsSettings(Section):
    """Dense rates by type; an absent one is not supported in hardware."""

    float32: Rate | None = Field(None, description="10**12 operations per second, dense")
    float16: Rate | None = Field(None, description="10**12 operations per second, dense")
    bfloat16: Rate | None = Field(None, description="10**12 operations per second, dense")
    fp8: Rate | None = Field(None, description="10**12 operations per second, dense")
    int8: Rate | None = Field(None, description="10**12 operations per second, dense")
    fp4: Rate | None = Field(None, description="10**12 operations per second, dense")


class HardwareSettings(Section):
    """What an accelerator can do. Absent: as the catalogue that comes with Stoker says."""

    vendor: Literal["nvidia", "amd", "cpu"] | None = Field(None, description="nvidia, amd or cpu")
    memory_gib: float | None = Field(
        None,
        alias="memoryGiB",
        gt=0,
        le=4096,
        description="GiB that a process sees, 0 to 4096; for cpu what one pod may use",
    )
    bandwidth_gbs: float | None = Field(
        None, alias="bandwidthGBs", gt=0, le=100_000, description="of its memory, 10**9 bytes/s"
    )
    tflops: TflopsSettings | None = Field(
        None, description="{float32, float16, bfloat16, fp8, int8, fp4}: replaces all rates"
    )
    link_gbs: float | None = Field(
        None, alias="linkGBs", ge=0, le=100_000, description="one way, within a node, 10**9 bytes/s"
    )
    link_kind: Literal["nvlink", "xgmi", "pcie", "memory", "none"] | None = Field(
        None, description="nvlink, xgmi, pcie, memory or none"
    )
    most_per_node: int | None = Field(None, ge=1, le=1024, description="accelerators, 1 to 1024")
    compute_capability: str | None = Field(
        None, pattern=r"^[0-9]{1,2}\.[0-9]$", description="NVIDIA's, in quotes, for example '8.9'"
    )
    price_per_hour: float | None = Field(
        None, gt=0, le=10_000, description="US dollars for one accelerator, on demand"
    )
    spot_price_per_hour: float | None = Field(
        None, gt=0, le=10_000, description="US dollars for one accelerator, interruptible"
    )


class AcceleratorSettings(Section):
    """One entry of the accelerator catalogue."""

    like: str | None = Field(None, description="a type that this one takes all it does not say")
    share: float = Field(
        1.0, gt=0, le=1, description="part of that type's memory, speed and price, 0 to 1"
    )
    hardware: HardwareSettings = Field(
        HardwareSettings.model_validate({}), description="what differs from the known type"
    )
    resource: str | None = Field(
        None, description="extended resource, for example nvidia.com/gpu; absent for cpu"
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="labels of the nodes that carry this type"
    )
    tolerations: tuple[TolerationSettings, ...] = Field((), description="taints to tolerate")


class Allowed(Section):
    """What users may add to their engine pods. Empty by default."""

    labels: tuple[str, ...] = Field((), description="label keys, or prefixes ending in '/'")
    annotations: tuple[str, ...] = Field((), description="keys, or prefixes ending in '/'")
    tolerations: tuple[str, ...] = Field((), description="taint keys")
    priority_classes: tuple[str, ...] = Field((), description="names of priority classes")
    runtime_classes: tuple[str, ...] = Field((), description="names of runtime classes")


class Drain(Section):
    """How an engine pod leaves."""

    settle_seconds: float = Field(3.0, ge=0, le=60, description="seconds, 0 to 60")
    drain_seconds: float = Field(120.0, ge=1, le=3600, description="seconds, 1 to 3600")


class ModelSettings(Section):
    """Which models are served."""

    allow_pickle: bool = Field(
        False,
        description="true or false: whether models whose weights are pickles are served; reading "
        "a pickle runs the code in it",
    )
    preload: bool = Field(
        True, description="true or false: whether lists of models in ConfigMaps become ModelCaches"
    )


class LeaderWorkerSetSettings(Section):
    """Replicas that span pods."""

    enabled: bool = Field(False, description="whether the cluster has the controller: true, false")


class MetricsSettings(Section):
    """Who reads what services tell."""

    namespace_labels: dict[str, str] = Field(
        {}, description="labels of the namespaces whose pods may read metrics: {name: value}"
    )
    pod_labels: dict[str, str] = Field(
        {}, description="labels of those pods; empty: all of them: {name: value}"
    )
    annotations: bool = Field(
        False, description="true or false: whether new pods carry prometheus.io/* annotations"
    )


class NodesSettings(Section):
    """What there is to run on."""

    read: bool = Field(True, description="whether nodes and volumes are looked at: true, false")
    label: bool = Field(
        False,
        description="true or false: whether nodes that hold a model of a cache that is kept per "
        "node are labelled, which takes the right to patch nodes",
    )
    wait_seconds: float = Field(
        900.0, ge=5, le=7200, description="how long a replica may wait for a node, 5 to 7200"
    )
    retry_seconds: float = Field(
        300.0, ge=5, le=3600, description="until it is asked for again the first time, 5 to 3600"
    )


class ProposalsSettings(Section):
    """When a change of the plan is proposed."""

    window_seconds: float = Field(
        900.0, ge=5, le=86400, description="how long replicas are looked at, 5 to 86400"
    )


Port = Annotated[int, Field(ge=1, le=65535)]


class KedaSettings(Section):
    """The load of services for KEDA, by gRPC."""

    enabled: bool = Field(False, description="whether to serve it: true, false")
    port: Port = Field(8081, description="port, 1 to 65535")
    certificate: Path | None = Field(
        None, description="folder with tls.crt and tls.key; absent: in the clear"
    )
    verify_clients: bool = Field(
        False, description="true or false: whether clients need a certificate that ca.crt signed"
    )


class HpaSettings(Section):
    """The load of services as external metrics behind the API server."""

    enabled: bool = Field(False, description="whether to serve it: true, false")
    port: Port = Field(8443, description="port, 1 to 65535")
    certificate: Path | None = Field(None, description="folder with tls.crt and tls.key")


class ExternalScalersSettings(Section):
    """What autoscalers that are not Stoker's are told."""

    keda: KedaSettings = Field(KedaSettings.model_validate({}), description="{enabled, port, …}")
    hpa: HpaSettings = Field(HpaSettings.model_validate({}), description="{enabled, port, …}")


class LeaseSettings(Section):
    """Who leads, and how fast a dead leader is replaced."""

    name: str = Field("stoker-operator", description="name of the Lease object")
    duration_seconds: int = Field(15, ge=5, le=300, description="seconds, 5 to 300")
    renew_deadline_seconds: float = Field(10, ge=2, le=250, description="below durationSeconds")
    retry_seconds: float = Field(2, ge=0.2, le=60, description="below renewDeadlineSeconds")


class Settings(Section):
    """Everything the administrator decides."""

    images: Images = Field(description="images: {worker, envoy, picker}")
    engines: dict[str, EngineSettings] = Field(
        min_length=1, description="engine catalogue: {vllm: {image: …}}"
    )
    accelerators: dict[str, AcceleratorSettings] = Field(
        min_length=1, description="accelerator catalogue: {cpu: {}, nvidia: {resource: …}}"
    )
    default_accelerator: str = Field(description="a name of the accelerator catalogue")
    notify: str | None = Field(
        None, pattern=r"^.+:[0-9]+$", description="host:port of the operator's Service"
    )
    cluster_domain: str = Field("cluster.local", description="DNS domain of the cluster")
    image_pull_secrets: tuple[str, ...] = Field((), description="names of pull secrets")
    allowed: Allowed = Field(Allowed.model_validate({}), description="what users may add")
    metrics: MetricsSettings = Field(
        MetricsSettings.model_validate({}), description="{namespaceLabels, podLabels, annotations}"
    )
    drain: Drain = Field(Drain.model_validate({}), description="{settleSeconds, drainSeconds}")
    models: ModelSettings = Field(
        ModelSettings.model_validate({}), description="{allowPickle, preload}"
    )
    leader_worker_set: LeaderWorkerSetSettings = Field(
        LeaderWorkerSetSettings.model_validate({}), description="{enabled}"
    )
    caches: CacheSettings = Field(
        CacheSettings.model_validate({}), description="{storage, hub, schemes, …}"
    )
    nodes: NodesSettings = Field(NodesSettings.model_validate({}), description="{read}")
    proposals: ProposalsSettings = Field(
        ProposalsSettings.model_validate({}), description="{windowSeconds}"
    )
    external_scalers: ExternalScalersSettings = Field(
        ExternalScalersSettings.model_validate({}), description="{keda, hpa}"
    )
    watch_namespaces: tuple[str, ...] = Field((), description="namespaces; empty: all of them")
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error"
    )
    lease: LeaseSettings = Field(LeaseSettings.model_validate({}), description="leader election")


class Pod(BaseSettings):
    """Where this process runs, from the downward API."""

    model_config = SettingsConfigDict(env_prefix="POD_", extra="ignore", frozen=True)

    name: str = Field("", description="POD_NAME")
    namespace: str = Field("", description="POD_NAMESPACE")
    ip: str = Field("", description="POD_IP")


def load_settings(path: Path) -> Settings:
    """Read the file; `ConfigError` lists everything that is wrong with it."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}): pass the file with --config"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping that starts with `images:`")
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _explain(error))) from error
    problems = list(_contradictions(settings))
    if problems:
        raise ConfigError("\n".join(f"{path}: {line}" for line in problems))
    return settings


def _contradictions(settings: Settings) -> Iterator[str]:
    if settings.default_accelerator not in settings.accelerators:
        known = ", ".join(sorted(settings.accelerators))
        yield (
            f"defaultAccelerator: {settings.default_accelerator!r} is not in the accelerator "
            f"catalogue; write one of: {known}"
        )
    kept = settings.caches.storage
    if kept.existing_claim is not None and kept.per_node_storage_class_name is not None:
        yield (
            "caches.storage: existingClaim and perNodeStorageClassName exclude each other; remove "
            "one of them"
        )
    hpa, keda = settings.external_scalers.hpa, settings.external_scalers.keda
    if hpa.enabled and hpa.certificate is None:
        yield (
            "externalScalers.hpa.certificate: is missing; the API server speaks TLS alone: write "
            "the folder with tls.crt and tls.key"
        )
    if keda.verify_clients and keda.certificate is None:
        yield (
            "externalScalers.keda.verifyClients: needs TLS; write certificate too, or "
            "verifyClients: false"
        )
    lease = settings.lease
    if not lease.retry_seconds < lease.renew_deadline_seconds < lease.duration_seconds:
        yield (
            "lease: retrySeconds must be below renewDeadlineSeconds, and that below "
            "durationSeconds; write for example 2, 10 and 15"
        )


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        location = tuple(problem["loc"])
        field = ".".join(str(part) for part in location)
        owner, description = _describe(location)
        if problem["type"] == "extra_forbidden":
            known = ", ".join(sorted(owner)) if owner else "nothing"
            near = difflib.get_close_matches(str(location[-1]), owner, 1)
            meant = f"did you mean {near[0]}? Write" if near else "write"
            yield f"{field}: there is no such field; {meant} one of: {known}"
        elif problem["type"] == "missing":
            yield f"{field}: is missing; write {description}"
        else:
            yield f"{field}: {problem['msg']}; write {description}"


def _describe(location: tuple[Any, ...]) -> tuple[tuple[str, ...], str]:
    """Names that are known beside the last part of a location, and what that part means."""
    model: type[BaseModel] | None = Settings
    description = "a value of the right type"
    known: tuple[str, ...] = ()
    for part in location:
        if model is None:
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        known = tuple(fields)
        if part not in fields:  # the name of a catalogue entry, the index of a list
            continue
        description = fields[part].description or description
        model = _model_inside(fields[part].annotation)
    return known, description


def _model_inside(annotation: object) -> type[BaseModel] | None:
    """The section that a field holds, by itself or as the values of a mapping or a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_inside(argument)
        if found is not None:
            return found
    return None
