"""The administrator's file as the value that decisions are made from."""

import math
from collections.abc import Iterable
from ipaddress import ip_network

from stoker.api.modelcache import CacheStorage, ClaimTemplate, ExistingClaim, PerNode
from stoker.catalog.overrides import gpus_of, known_plugins, marked
from stoker.model.cache import CachePlatform
from stoker.model.platform import AcceleratorPlatform, EnginePlatform, Mount, Platform
from stoker.quantity import parse_optional_duration, parse_quantity
from stoker.settings import Settings
from stoker.settings.caches import CacheStorageSettings


def caches_of(
    settings: Settings, operator_namespace: str, api_server: Iterable[str]
) -> CachePlatform:
    """What is decided for model caches. `api_server` are its addresses, where no job may go."""
    caches = settings.caches
    return CachePlatform(
        worker_image=settings.images.worker,
        operator_namespace=operator_namespace,
        storage=_storage(caches.storage),
        storage_class=caches.storage.storage_class_name,
        access_modes=tuple(caches.storage.access_modes),
        hub=caches.hub.rstrip("/"),
        object_endpoint=caches.object_endpoint,
        plain_hosts=caches.plain_hosts,
        private_hosts=caches.private_hosts,
        schemes=frozenset(caches.schemes),
        ca_config_map=caches.ca_config_map,
        proxies=tuple(
            (f"{name.upper()}_PROXY", value)
            for name in ("https", "http", "no")
            if (value := getattr(caches.proxy, name)) is not None
        ),
        forbidden_networks=(
            *(str(network) for network in caches.forbidden_networks),
            *(str(ip_network(address)) for address in api_server if _is_address(address)),
        ),
        max_bytes=0 if caches.max_size is None else math.ceil(parse_quantity(caches.max_size)),
        verify_every_s=parse_optional_duration(caches.verify_every),
        compile_bytes=math.ceil(parse_quantity(caches.compile_room)),
        allow_pickle=settings.models.allow_pickle,
        allow_code=caches.allow_code,
        label_nodes=settings.nodes.label,
        parallel=caches.parallel,
        patience_s=caches.patience_seconds,
    )


def _storage(kept: CacheStorageSettings) -> CacheStorage:
    if kept.existing_claim is not None:
        return CacheStorage(existing_claim=ExistingClaim(name=kept.existing_claim))
    if kept.per_node_storage_class_name is not None:
        return CacheStorage(per_node=PerNode(storage_class_name=kept.per_node_storage_class_name))
    return CacheStorage(pvc=ClaimTemplate())


def _is_address(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def platform_of(settings: Settings, operator_namespace: str) -> Platform:
    """Settings → Platform. `ConfigError` where hardware cannot be told or a plugin is unknown."""
    gpus = gpus_of(settings.accelerators)
    accelerators = {name: marked(name, settings.accelerators) for name in settings.accelerators}
    return Platform(
        operator_namespace=operator_namespace,
        worker_image=settings.images.worker,
        envoy_image=settings.images.envoy,
        picker_image=settings.images.picker,
        engines={
            name: EnginePlatform(
                name=name,
                image=engine.image,
                python=engine.python,
                mounts=tuple(Mount(mount.claim, mount.path) for mount in engine.mounts),
                env=engine.env,
                args=engine.args,
                allowed_args=engine.allowed_args,
                allowed_env=engine.allowed_env,
                image_prefixes=engine.image_prefixes,
                plugins=known_plugins(name, engine.plugins),
                concurrency=engine.concurrency,
                shared_memory=engine.shared_memory,
            )
            for name, engine in settings.engines.items()
        },
        accelerators={
            name: AcceleratorPlatform(
                name=name,
                resource=accelerator.resource,
                node_selector=accelerator.node_selector,
                tolerations=tuple(
                    toleration.model_dump(exclude_none=True)
                    for toleration in accelerator.tolerations
                ),
            )
            for name, accelerator in accelerators.items()
        },
        gpus=gpus,
        default_accelerator=settings.default_accelerator,
        notify=settings.notify,
        cluster_domain=settings.cluster_domain,
        scrapers=settings.metrics.namespace_labels,
        scraper_pods=settings.metrics.pod_labels,
        scrape_annotations=settings.metrics.annotations,
        image_pull_secrets=settings.image_pull_secrets,
        allowed_labels=settings.allowed.labels,
        allowed_annotations=settings.allowed.annotations,
        allowed_tolerations=settings.allowed.tolerations,
        allowed_priority_classes=settings.allowed.priority_classes,
        allowed_runtime_classes=settings.allowed.runtime_classes,
        allow_pickle=settings.models.allow_pickle,
        compile_bytes=math.ceil(parse_quantity(settings.caches.compile_room)),
        groups=settings.leader_worker_set.enabled,
        node_wait_s=settings.nodes.wait_seconds,
        node_retry_s=settings.nodes.retry_seconds,
        strain_s=settings.proposals.window_seconds,
        settle_s=settings.drain.settle_seconds,
        drain_s=settings.drain.drain_seconds,
    )
