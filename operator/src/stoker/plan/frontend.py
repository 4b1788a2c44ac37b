"""The frontend's objects: rolled by what the user changes, never by an upgrade of the operator.

The Deployment carries the digest of what the user asked for. While that stays, the template stays,
as with engines, and a newer rendering waits; it is taken over at once where no frontend answers.
Its ConfigMap is named by its content, so a kept template keeps its ConfigMap. An old ConfigMap goes
when the Deployment has rolled to the end and no pod of an older template is left: exactly the pods
exist that the present template made.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stoker import naming, quantity
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.observed import Key, Observed, ObservedObject
from stoker.model.plan import Apply, Delete, Verdict
from stoker.model.platform import Platform
from stoker.naming import Component
from stoker.plan import actions, replica, situation
from stoker.render import engine, objects, timeouts
from stoker.render.frontend import render_frontend
from stoker.render.frontend_input import FrontendInput
from stoker.render.objects import Owner


def plan_frontend(
    observed: Observed, spec: InferenceServiceSpec, platform: Platform
) -> tuple[list[Apply | Delete], list[Verdict]]:
    """Writes for the address of the service, and what is left pending."""
    key = observed.service.key
    given = frontend_input(key, spec, platform)
    factors = factors_of(given)
    manifests = list(_rendered(given, objects.owner_of(observed.service)))
    present = observed.object("Deployment", naming.frontend(key.name))
    notes = []
    if present is not None and _keeps_template(manifests, present, factors, observed):
        kept = engine.rescale(present.body, spec.frontend.replicas)
        manifests = [m for m in manifests if m["kind"] not in {"Deployment", "ConfigMap"}]
        manifests.append(kept)
        notes.append(
            Verdict(
                reasons.UPDATE_PENDING,
                "the frontend keeps its pods; the operator's change reaches it with the next "
                "change of spec.frontend or of the served names",
            )
        )
    writes: list[Apply | Delete] = [
        write
        for manifest in manifests
        if (write := actions.apply_if_needed(manifest, observed)) is not None
    ]
    wanted = {m["metadata"]["name"] for m in manifests if m["kind"] == "ConfigMap"}
    writes.extend(_unused_configs(observed, present, wanted))
    return writes, notes


def frontend_input(key: Key, spec: InferenceServiceSpec, platform: Platform) -> FrontendInput:
    """What the frontend of this service is rendered from."""
    return FrontendInput(
        service=key.name,
        namespace=key.namespace,
        frontend=spec.frontend,
        served_names=replica.answered_names(key, spec),
        platform=platform,
        timeouts=timeouts.compute_timeouts(
            hold_s=quantity.parse_duration(spec.frontend.hold_timeout),
            drain_s=platform.drain_s,
        ),
        notify=platform.notify,
    )


def factors_of(given: FrontendInput) -> str:
    """Names what the user asked of the frontend; its number of replicas rolls nothing."""
    factors = {
        "holdTimeout": given.timeouts.hold,
        "maxHeld": given.frontend.max_held,
        "servedNames": given.served_names,
        "tracks": [[track.track.value, track.weight, track.revision] for track in given.tracks],
    }
    text = json.dumps(factors, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=256)
def _rendered(given: FrontendInput, owner: Owner) -> tuple[dict[str, Any], ...]:
    """The finished manifests, never to be mutated.

    Kept, because Envoy's configuration is long and nearly every pass asks for the same one.
    """
    manifests = tuple(objects.finish(manifest, owner) for manifest in render_frontend(given))
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            manifest["metadata"]["annotations"][naming.ANNOTATION_FACTORS] = factors_of(given)
    return manifests


def _keeps_template(
    manifests: list[dict[str, Any]], present: ObservedObject, factors: str, observed: Observed
) -> bool:
    annotations = present.body.get("metadata", {}).get("annotations") or {}
    wanted = next(m for m in manifests if m["kind"] == "Deployment")
    same: bool = annotations.get(naming.ANNOTATION_FACTORS) == factors
    return (
        same
        and objects.applied_digest(wanted) != objects.applied_digest(present.body)
        and any(pod.ready for pod in situation.pods_of(observed, Component.FRONTEND))
    )


def _unused_configs(
    observed: Observed, present: ObservedObject | None, wanted: set[str]
) -> list[Delete]:
    if present is None or not _rolled(observed, present.body):
        return []
    used = wanted | _mounted_configs(present.body)
    prefix = naming.frontend_config(observed.service.key.name, "")
    return [
        actions.delete(candidate, reasons.UNUSED)
        for candidate in observed.objects
        if candidate.kind == "ConfigMap"
        and candidate.name.startswith(prefix)
        and candidate.name not in used
    ]


def _rolled(observed: Observed, body: Mapping[str, Any]) -> bool:
    status = body.get("status") or {}
    replicas = body.get("spec", {}).get("replicas")
    pods = situation.pods_of(observed, Component.FRONTEND)
    return bool(
        status.get("observedGeneration") == body.get("metadata", {}).get("generation")
        and status.get("updatedReplicas") == status.get("replicas") == replicas
        and status.get("readyReplicas") == replicas == len(pods)
    )


def _mounted_configs(body: Mapping[str, Any]) -> set[str]:
    template = body.get("spec", {}).get("template", {}).get("spec", {})
    return {
        volume["configMap"]["name"]
        for volume in template.get("volumes") or []
        if "configMap" in volume
    }
