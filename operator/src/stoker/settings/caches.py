"""`caches:` of the administrator's file: where they are kept, and what their jobs may do."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal

from pydantic import Field

from stoker.settings.section import Section

# As in `stoker.quantity`, which lies beside the settings and may not be imported by them.
_AMOUNT: Final = r"^[0-9]+(\.[0-9]{1,9})?([KMGTPE]i|[kMGTPE])?$"
Amount = Annotated[str, Field(pattern=_AMOUNT, max_length=32)]
Span = Annotated[str, Field(pattern=r"^([0-9]{1,6}(ms|s|m|h))+$", max_length=16)]
Network = Annotated[IPv4Network | IPv6Network, Field(union_mode="left_to_right")]


class CacheStorageSettings(Section):
    """Where a ModelCache is kept that does not say it. Exactly one of the three."""

    storage_class_name: str | None = Field(
        None, description="class of claims that are made; absent: the cluster's default"
    )
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteMany"], ...] = Field(
        ("ReadWriteOnce",), min_length=1, description="ReadWriteOnce or ReadWriteMany"
    )
    existing_claim: str | None = Field(
        None, description="a claim that has this name in each namespace, instead of one per cache"
    )
    per_node_storage_class_name: str | None = Field(
        None, description="class of local volumes: caches are then kept on each node"
    )


class ProxySettings(Section):
    """Through whom jobs reach their sources."""

    https: str | None = Field(None, pattern="^https?://", description="http://HOST:PORT")
    http: str | None = Field(None, pattern="^https?://", description="http://HOST:PORT")
    no: str | None = Field(None, description="hosts that need none, with commas between them")


class CacheSettings(Section):
    """Model caches: where they are kept, and what their jobs may do."""

    storage: CacheStorageSettings = Field(
        CacheStorageSettings.model_validate({}), description="{storageClassName, accessModes, …}"
    )
    schemes: frozenset[Literal["hf", "s3", "gs", "oci", "https", "pvc"]] = Field(
        frozenset({"hf", "s3", "gs", "oci", "https", "pvc"}),
        description="sources that users may name: hf, s3, gs, oci, https, pvc",
    )
    hub: str = Field(
        "https://huggingface.co", pattern="^https?://", description="address that hf:// stands for"
    )
    object_endpoint: str = Field(
        "", pattern="^(https?://.*)?$", description="address of s3://; empty: Amazon's"
    )
    plain_hosts: tuple[str, ...] = Field((), description="HOST or HOST:PORT allowed without TLS")
    private_hosts: bool = Field(
        True, description="true or false: whether sources may have addresses that are not public"
    )
    forbidden_networks: tuple[Network, ...] = Field(
        (), description="networks that no job may reach, for example [10.0.0.10/32]"
    )
    ca_config_map: str | None = Field(
        None, description="name of a ConfigMap of each namespace whose ca.crt is trusted too"
    )
    proxy: ProxySettings = Field(ProxySettings.model_validate({}), description="{https, http, no}")
    max_size: Amount | None = Field(None, description="largest model, for example 200Gi")
    verify_every: Span | None = Field(None, description="for example 168h; absent: never")
    compile_room: Amount = Field("2Gi", description="for compiled kernels on claims that are made")
    allow_code: bool = Field(
        False, description="true or false: whether files of Python are kept beside a model"
    )
    parallel: int = Field(8, ge=1, le=64, description="connections of one job, 1 to 64")
    patience_seconds: float = Field(
        3600.0, ge=1, le=86_400, description="how long a job waits for its source, 1 to 86400"
    )
