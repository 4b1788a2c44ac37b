"""The Job that looks at a model before anything is planned: no accelerator, no network, no token.

It runs where the engine may run (`render.pods`), reads configuration and headers, and leaves what
it found as its termination message. Its name is a hash of its content, because a Job cannot be
changed; a claim that was made anew under its old name is other content. The time limit is the
pod's and not the Job's, so that waiting for a node does not count. A finished Job is removed soon
(by us when it succeeded, by the cluster when it failed), and a failure is thereby looked at again.
"""

import hashlib
import json
from typing import Any, Final

from stoker import naming
from stoker.model.replica import Replica
from stoker.naming import Component
from stoker.render.objects import Owner, finish
from stoker.render.pods import (
    compact,
    container_security,
    model_volume,
    placement,
    pod_security,
)
from stoker_worker import contract

Manifest = dict[str, Any]

CONTAINER: Final = "facts"
# What the model's files say twice, they say a third time; only the machine may change its mind.
RETRIES: Final = 2
# A header is read in milliseconds; the rest is for volumes that are slow to wake.
RUN_LIMIT_S: Final = 300
# How long a failure is left to be looked at, and then how often the model is looked at again.
KEPT_S: Final = 120
_MODEL: Final = "model"


def render_facts(owner: Owner, replica: Replica, source: str, reread: str = "") -> Manifest:
    """The Job for the model of this replica; `source` names the folder that it looks at.

    `reread` is what the service's owner wrote to have a folder read again: another Job each time.
    """
    service = owner.key.name
    spec = _pod(service, replica)
    told = {naming.ANNOTATION_SOURCE: source}
    if reread:
        told[naming.ANNOTATION_REREAD] = reread
    text = json.dumps([spec, *told.values()], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    labels = naming.labels(service, Component.FACTS)
    return finish(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": naming.facts_job(service, digest),
                "labels": labels,
                "annotations": told,
            },
            "spec": {
                "backoffLimit": RETRIES,
                "ttlSecondsAfterFinished": KEPT_S,
                "podFailurePolicy": {
                    "rules": [
                        # The worker's own verdict stands; a node that drains says nothing.
                        {
                            "action": "FailJob",
                            "onExitCodes": {
                                "containerName": CONTAINER,
                                "operator": "In",
                                "values": [1],
                            },
                        },
                        {
                            "action": "Ignore",
                            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                        },
                    ]
                },
                "template": {
                    "metadata": {
                        "labels": {**dict(replica.additions.labels), **labels},
                        "annotations": dict(replica.additions.annotations),
                    },
                    "spec": spec,
                },
            },
        },
        owner,
    )


def _pod(service: str, replica: Replica) -> Manifest:
    folder = f"{contract.MODEL_DIR}/{replica.folder}".rstrip("/")
    options = (contract.ALLOW_PICKLE,) if replica.allow_pickle else ()
    return compact(
        {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": RUN_LIMIT_S,
            "serviceAccountName": naming.engine(service),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": pod_security(),
            **placement(replica),
            "containers": [
                {
                    "name": CONTAINER,
                    "image": replica.worker_image,
                    "command": [*contract.FACTS_COMMAND, folder, *options],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"memory": "512Mi"},
                    },
                    "securityContext": container_security(),
                    "terminationMessagePath": contract.TERMINATION_LOG,
                    "terminationMessagePolicy": "File",
                    "volumeMounts": [
                        {"name": _MODEL, "mountPath": contract.MODEL_DIR, "readOnly": True}
                    ],
                }
            ],
            "volumes": [model_volume(_MODEL, replica)],
        }
    )
