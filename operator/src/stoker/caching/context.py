"""What the steps of one pass share: the look, the administrator's side, and the jobs of the cache.

A job runs where the pods of the service run that comes first by name, of those that use the cache:
a volume that its first user pins to a zone is then never pinned to one without accelerators.
"""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from stoker import naming
from stoker.api.modelcache import ModelCacheSpec
from stoker.caching.memory import Content, Resolved
from stoker.caching.storage import Storage
from stoker.model.cache import CachePlatform, ObservedCache
from stoker.model.location import location_of
from stoker.model.moment import Moment
from stoker.model.platform import Platform
from stoker.model.replica import Accelerators, Placement
from stoker.plan import admission
from stoker.plan.replica import additions_of, placement_of
from stoker.quantity import parse_duration, parse_quantity
from stoker.render.cache import CacheJob
from stoker.render.objects import Owner
from stoker_worker.cachecontract import FETCH, MOUNT, RESOLVE, VERIFY, FetchConfig

_ANYWHERE = Accelerators(("cpu",), None, 0, ((),), ())


@dataclass(frozen=True)
class Context:
    """One pass over one cache whose spec is not refused."""

    observed: ObservedCache
    spec: ModelCacheSpec
    storage: Storage
    caches: CachePlatform
    platform: Platform
    now: Moment

    @cached_property
    def owner(self) -> Owner:
        """The cache."""
        cache = self.observed.cache
        return Owner(cache.key, cache.uid, cache.kind)

    @cached_property
    def placement(self) -> Placement:
        """Where jobs may run."""
        for user in self.observed.users:
            if admission.refuse(user.spec, self.platform) is None:
                return placement_of(user.spec, self.platform)
        return Placement(
            _ANYWHERE, additions_of(self.spec.template), self.platform.image_pull_secrets
        )

    @cached_property
    def max_bytes(self) -> int:
        """The largest model that is fetched; 0: no limit."""
        text = self.spec.budget.max_size
        own = 0 if text is None else math.ceil(parse_quantity(text))
        return min((limit for limit in (own, self.caches.max_bytes) if limit), default=0)

    @cached_property
    def verify_every_s(self) -> float | None:
        """How often every byte is read again."""
        if self.storage.mounted:
            return None  # the runtime compared the image with its digest
        text = self.spec.verify.every
        return self.caches.verify_every_s if text is None else parse_duration(text)

    @cached_property
    def source(self) -> str:
        """Names what is to be resolved: another one is resolved anew, and nothing else is."""
        model = self.spec.model
        again = self.observed.cache.annotations.get(naming.ANNOTATION_RESOLVE, "")
        return _digest([model.uri.rstrip("/"), model.revision or "", again])

    @cached_property
    def verify_word(self) -> str:
        """What the owner wrote to have every byte read again."""
        text = self.observed.cache.annotations.get(naming.ANNOTATION_VERIFY, "")
        return text if len(text) <= 64 else _digest([text])

    @cached_property
    def demands(self) -> str:
        """Names what the spec demands of the files, beside where they come from."""
        caches = self.caches
        return _digest(
            [
                self.spec.verify.digests,
                self.spec.retain,
                caches.allow_pickle,
                caches.allow_code,
            ]
        )

    def resolve_job(self) -> CacheJob:
        """Looks at the source; needs no volume."""
        return self._job(self._config(RESOLVE, self.spec.model.revision or "", ""))

    def fetch_job(
        self, resolved: Resolved, content: Content | None, node: str | None = None
    ) -> CacheJob:
        """Fills the volume, or completes what is there."""
        return self._on_volume(FETCH, resolved.revision, resolved.folder, content, node)

    def verify_job(
        self, resolved: Resolved, content: Content | None, node: str | None = None
    ) -> CacheJob:
        """Reads every byte, and fetches what is bad."""
        return self._on_volume(VERIFY, resolved.revision, resolved.folder, content, node)

    def mount_job(self, resolved: Resolved) -> CacheJob:
        """Mounts the image, and reads its model."""
        job = self._job(self._config(MOUNT, resolved.revision, resolved.image_folder))
        # The kubelet asks the registry, and nobody in the pod does.
        secret = () if job.secret is None else (job.secret,)
        pulls = tuple(dict.fromkeys((*self.placement.image_pull_secrets, *secret)))
        return replace(
            job,
            image=resolved.image,
            secret=None,
            placement=replace(self.placement, image_pull_secrets=pulls),
            word=self.source + self.verify_word,
        )

    def _on_volume(
        self, task: str, revision: str, folder: str, content: Content | None, node: str | None
    ) -> CacheJob:
        live = {folder, *self.observed.others}
        if content is not None and content.claim == self.storage.claim:
            live.add(content.folder)
        config = self._config(task, revision, folder, sorted(live))
        if node is not None:
            return self._job(config, self.storage.claim, (node,), per_node=True)
        claim = self.observed.claim
        one_node = self.storage.one_node if claim is None else claim.one_node
        return self._job(config, self.storage.claim, self.observed.held_on if one_node else ())

    def _job(
        self,
        config: FetchConfig,
        claim: str | None = None,
        nodes: tuple[str, ...] = (),
        *,
        per_node: bool = False,
    ) -> CacheJob:
        model = self.spec.model
        local = model.uri.startswith("pvc://")
        return CacheJob(
            config=config,
            placement=self.placement,
            claim=claim,
            source_claim=location_of(model.uri)[0] if local else None,
            secret=None if model.secret_ref is None else model.secret_ref.name,
            nodes=nodes,
            per_node=per_node,
            word=self.source + (self.verify_word if config.task == VERIFY else ""),
        )

    def _config(
        self, task: str, revision: str, folder: str, live: list[str] | None = None
    ) -> FetchConfig:
        spec, caches = self.spec, self.caches
        text = spec.budget.bandwidth
        return FetchConfig(
            task=task,
            uri=spec.model.uri,
            revision=revision,
            folder=folder,
            name=str(self.observed.cache.key),
            hub=caches.hub,
            object_endpoint=caches.object_endpoint,
            parallel=caches.parallel,
            bandwidth=0 if text is None else math.ceil(parse_quantity(text)),
            max_bytes=self.max_bytes,
            digests=dict(spec.verify.digests),
            allow_pickle=caches.allow_pickle,
            allow_code=caches.allow_code,
            plain_hosts=list(caches.plain_hosts),
            private_hosts=caches.private_hosts,
            patience_s=caches.patience_s,
            full=task == VERIFY,
            live=live or [],
            live_at=0.0 if live is None else self.now.unix,
            keep=spec.retain,
        )


def _digest(values: list[Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
