"""`engines.yaml` as typed values: each version range is the one before it with its changes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from stoker.catalog.engines import EngineFeatures, Feature, KvType, Rule, State, Support
from stoker.catalog.hardware import CatalogError

_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_REFUSED: Final = Rule(State.REFUSED, "NotSupported", "the engine does not have it.")

Capability = Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]$")]
Version = tuple[int, int, int]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True
    )


class _Otherwise(_Part):
    reason: str = Field(pattern="^[A-Z][A-Za-z0-9]+$")
    why: str = Field(min_length=3)


class _Rule(_Otherwise):
    vendor: str | None = Field(None, pattern="^(nvidia|amd|cpu)$")
    since: Capability | None = None
    below: Capability | None = None
    state: State = State.NATIVE
    value: str | None = None
    first: bool = False


class _Feature(_Part):
    rules: tuple[_Rule, ...]
    otherwise: _Otherwise | None = None
    value: str | None = None
    needs: str | None = None
    experts: bool = False


class _Kept(_Part):
    bits: int = Field(ge=2, le=16)
    scale_bytes: int = Field(0, ge=0, le=8)


class _KvType(_Feature):
    bits: int = Field(ge=2, le=16)
    scale_bytes: int = Field(0, ge=0, le=8)
    attention: str | None = None
    latent: bool = True
    kept: dict[str, _Kept] = {}


class _Range(_Part):
    since: str
    gpu_memory_utilization: float = Field(gt=0, le=1)
    driver: int | None
    hardware: _Feature
    sparse_checkpoints: _Rule
    dtypes: dict[str, _Feature]
    weights: dict[str, _Feature]
    load_time: dict[str, _Feature]
    kv: dict[str, _KvType]
    speculation: dict[str, _Feature]
    loaders: dict[str, _Feature]
    attention: dict[str, _Feature]
    parallelism: dict[str, _Feature]
    techniques: dict[str, _Feature]


class Engine:
    """One engine of the catalogue, at all versions that Stoker knows."""

    def __init__(
        self, name: str, ranges: tuple[_Range, ...], newest: str | None, way_out: str
    ) -> None:
        self.name = name
        self.offered = bool(ranges)
        self.way_out = way_out
        self._ranges = ranges
        self._newest = parse_version(newest or "")

    @property
    def plugins(self) -> dict[str, str]:
        """Packages that a technique needs at some version, and the technique; by package."""
        return {
            feature.needs: name
            for each in self._ranges
            for section in (each.weights, each.loaders)
            for name, feature in section.items()
            if feature.needs is not None
        }

    def at(self, version: str, plugins: Iterable[str] = ()) -> EngineFeatures:
        """What it can do at a version: 0.33.0, v0.33.0, 0.32.0+cpu; "" means the newest.

        `plugins` are the Python packages that the image brings beyond the stock ones.
        A version below the oldest range has the oldest's features, marked as assumed.
        """
        if not self._ranges:
            return EngineFeatures(
                self.name, version, "", assumed=True, offered=False, way_out=self.way_out,
                gpu_memory_utilization=0.9, driver=None, hardware=Feature((), _REFUSED),
                sparse_checkpoints=Support(State.REFUSED, "EngineNotOffered", self.way_out),
            )  # fmt: skip
        wanted = parse_version(version)
        fitting = [
            each
            for each in self._ranges
            if wanted is None or (parse_version(each.since) or wanted) <= wanted
        ]
        # Patch releases of the newest minor version that was looked at are known, too.
        known = self._newest is None or (wanted is not None and wanted[:2] <= self._newest[:2])
        found = fitting[-1] if fitting else self._ranges[0]
        features = _features(self.name, version, found, assumed=not (known and fitting))
        return replace(features, plugins=frozenset(plugins))


def parse_engines(data: Any) -> dict[str, Engine]:  # noqa: ANN401 - from YAML
    """Engines by name from the content of an `engines.yaml`; `CatalogError` names the entry."""
    if not isinstance(data, dict):
        raise CatalogError("engines.yaml: must be a mapping of names to engines")
    return {name: _engine(name, raw) for name, raw in data.items()}


def parse_version(text: str) -> Version | None:
    """The first three numbers of a version; None where there is none."""
    found = _VERSION.match(text)
    if found is None:
        return None
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch or 0)


def version_of_image(image: str) -> str:
    """The engine's version as the tag of a stock image says it; "" where it does not.

    vllm/vllm-openai:v0.33.0-cu129@sha256:… → 0.33.0.
    """
    name = image.partition("@")[0].rpartition("/")[2]
    version = parse_version(name.partition(":")[2])
    return "" if version is None else ".".join(map(str, version))


def _engine(name: str, raw: Any) -> Engine:  # noqa: ANN401 - from YAML
    ranges: list[_Range] = []
    merged: dict[str, Any] = {}
    try:
        for changes in raw.get("versions", ()):
            merged = _merge(merged, changes)
            ranges.append(_Range.model_validate(merged))
    except ValidationError as error:
        since = f"{name} {merged.get('since')}"
        lines = (
            f"{since}: {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise CatalogError("\n".join(lines)) from error
    starts = [parse_version(each.since) or (0, 0, 0) for each in ranges]
    if starts != sorted(set(starts)):
        raise CatalogError(f"{name}: versions must go from old to new")
    if raw.get("offered", False) is not bool(ranges):
        raise CatalogError(f"{name}: an engine that is offered needs versions, and only that one")
    return Engine(name, tuple(ranges), raw.get("newest"), raw.get("wayOut", ""))


def _merge(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes win, sections are merged one by one; a feature is replaced whole, null removes."""
    merged = dict(old)
    for key, value in changes.items():
        section = isinstance(value, dict) and "rules" not in value
        if section and isinstance(old.get(key), dict):
            both = {**old[key], **value}
            merged[key] = {name: feature for name, feature in both.items() if feature is not None}
        else:
            merged[key] = value
    return merged


def _features(name: str, version: str, at: _Range, *, assumed: bool) -> EngineFeatures:
    sparse = at.sparse_checkpoints
    return EngineFeatures(
        engine=name,
        version=version,
        since=at.since,
        assumed=assumed,
        offered=True,
        way_out="",
        gpu_memory_utilization=at.gpu_memory_utilization,
        driver=at.driver,
        hardware=_feature("", at.hardware),
        sparse_checkpoints=Support(sparse.state, sparse.reason, sparse.why),
        dtypes=_section(at.dtypes),
        weights=_section(at.weights),
        loadtime=_section(at.load_time),
        kv={
            kind: KvType(
                feature=_feature(kind, each),
                bits=each.bits,
                scale_bytes=each.scale_bytes,
                attention=each.attention,
                latent=each.latent,
                kept={who: (kept.bits, kept.scale_bytes) for who, kept in each.kept.items()},
            )
            for kind, each in at.kv.items()
        },
        speculations=_section(at.speculation),
        loaders=_section(at.loaders),
        attention=_section(at.attention),
        parallel=_section(at.parallelism),
        techniques=_section(at.techniques),
    )


def _section(features: Mapping[str, _Feature]) -> dict[str, Feature]:
    return {name: _feature(name, feature) for name, feature in features.items()}


def _feature(name: str, raw: _Feature) -> Feature:
    otherwise = _REFUSED
    if raw.otherwise is not None:
        otherwise = Rule(State.REFUSED, raw.otherwise.reason, raw.otherwise.why)
    return Feature(
        rules=tuple(_rule(rule) for rule in raw.rules),
        otherwise=otherwise,
        value=name if raw.value is None else raw.value,
        needs=raw.needs,
        experts=raw.experts,
    )


def _rule(raw: _Rule) -> Rule:
    return Rule(
        state=raw.state,
        reason=raw.reason,
        why=raw.why,
        vendor=raw.vendor,
        since=_capability(raw.since),
        below=_capability(raw.below),
        value=raw.value,
        first=raw.first,
    )


def _capability(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)
