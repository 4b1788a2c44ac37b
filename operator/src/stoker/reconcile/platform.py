"""The administrator's file as the value that decisions are made from."""

from stoker.catalog.overrides import gpus_of, known_plugins, marked
from stoker.model.platform import AcceleratorPlatform, EnginePlatform, Mount, Platform
from stoker.settings import Settings


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
        image_pull_secrets=settings.image_pull_secrets,
        allowed_labels=settings.allowed.labels,
        allowed_annotations=settings.allowed.annotations,
        allowed_tolerations=settings.allowed.tolerations,
        allowed_priority_classes=settings.allowed.priority_classes,
        allowed_runtime_classes=settings.allowed.runtime_classes,
        allow_pickle=settings.models.allow_pickle,
        groups=settings.leader_worker_set.enabled,
        node_wait_s=settings.nodes.wait_seconds,
        node_retry_s=settings.nodes.retry_seconds,
        strain_s=settings.proposals.window_seconds,
        settle_s=settings.drain.settle_seconds,
        drain_s=settings.drain.drain_seconds,
    )
