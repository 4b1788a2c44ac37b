"""A real Kubernetes on one bare Linux machine, and the images that run on it.

The parts are the ones of any cluster: etcd, API server, controller manager, scheduler, kubelet on
containerd, kube-proxy, CoreDNS, a NetworkPolicy enforcer and an image registry. Nothing is faked,
so whatever passes here has met admission, RBAC, image pulls, probes, evictions and packet filters.
`python -m e2e.cluster up|down|status|logs|images|env` is the command line; from Python:

>>> cluster = connect()                                     # doctest: +SKIP
>>> cluster.kubectl("get", "nodes")                         # doctest: +SKIP

Who is who: `settings` (addresses and folders), `programs` (where programs come from), `components`
(how each is started), `lifecycle` (up, down, status), `images` (what is built and pushed),
`connection` (what a test or a demo holds in its hand), `volumes` (claims on node folders).
"""

from e2e.cluster.connection import Cluster, connect
from e2e.cluster.images import ensure_images
from e2e.cluster.settings import ClusterError
from e2e.cluster.volumes import local_volume

__all__ = ["Cluster", "ClusterError", "connect", "ensure_images", "local_volume"]
