"""The ModelCache that services share which name its source, where nobody made one for it.

It has no owner: it outlives every service, since the next one of this source would fetch it all
again. Whoever makes a ModelCache of this source and revision is preferred over it.
"""

from typing import Any

from stoker import naming
from stoker.api import modelcache
from stoker.api.servedmodel import Model
from stoker.api.v1alpha1 import API_VERSION
from stoker.model.observed import Key
from stoker.render.pods import compact


def render_shared_cache(key: Key, name: str, model: Model) -> dict[str, Any]:
    """The object for the model of the service `key`; the administrator decides where it is kept."""
    secret = None if model.secret_ref is None else {"name": model.secret_ref.name}
    source = {"uri": model.uri, "revision": model.revision, "secretRef": secret}
    return {
        "apiVersion": API_VERSION,
        "kind": modelcache.KIND,
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "labels": {
                naming.LABEL_IMPLICIT: "true",
                naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
            },
        },
        "spec": {"model": compact(source)},
    }
