"""What is taken away, what is kept, and what an image's tag depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e.cluster import components, images, network, remains
from e2e.cluster.buildah import build_environment
from e2e.cluster.settings import NODE, ClusterError
from e2e.cluster.volumes import local_volume

if TYPE_CHECKING:
    from pathlib import Path

SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-0123abcd - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.244.0.3/32 -m comment --comment "name: \\"stoker0\\"" -j CNI-0123abcd
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A CNI-0123abcd ! -d 224.0.0.0/4 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
"""


def test_only_rules_of_the_cluster_go() -> None:
    kept = network.without_ours(SAVED).splitlines()
    assert kept == [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":DOCKER - [0:0]",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        "-A DOCKER -i docker0 -j RETURN",
        "COMMIT",
    ]
    assert network.without_ours("\n".join(kept)).splitlines() == kept


def test_folders_below_a_live_mount_are_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOKER_STATE_DIR", str(tmp_path))
    (tmp_path / "model.safetensors").write_text("years of work")
    monkeypatch.setattr(remains, "mounts", lambda *_: [f"{tmp_path}/pods/volume"])
    with pytest.raises(ClusterError, match="could not be unmounted"):
        remains.clean([])
    assert (tmp_path / "model.safetensors").exists()


def test_a_local_volume_is_bound_to_its_claim_and_to_its_node() -> None:
    volume, claim = local_volume("models", "/srv/models", "demo", "tiny")
    assert volume["spec"]["claimRef"]["namespace"] == "demo"
    assert claim["spec"]["volumeName"] == "models"
    assert volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"]
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == [NODE]


def test_pods_get_a_resolver_that_they_can_reach(tmp_path: Path) -> None:
    plain = tmp_path / "resolv.conf"
    plain.write_text("nameserver 192.0.2.53\n")
    assert components.resolver(plain) == plain


def test_a_build_learns_how_to_reach_its_index_and_nothing_else() -> None:
    text, bundle = build_environment(
        {
            "SSL_CERT_FILE": "/etc/ca.pem",
            "PIP_INDEX_URL": "https://index.example/a b",
            "PIP_FIND_LINKS": "/only/on/the/host",
            "API_TOKEN": "secret",
        }
    )
    assert bundle == "/etc/ca.pem"
    assert "SSL_CERT_FILE=/run/secrets/ca\n" in text
    assert "PIP_INDEX_URL='https://index.example/a b'\n" in text
    assert "host" not in text
    assert "secret\n" not in text


def test_a_tag_changes_with_any_source_and_with_nothing_else(tmp_path: Path) -> None:
    recipe = replace(images.RECIPES["worker"], sources=(tmp_path,))
    (tmp_path / "a.py").write_text("one")
    first = images.content_hash(recipe)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    assert images.content_hash(recipe) == first
    (tmp_path / "a.py").write_text("two")
    assert images.content_hash(recipe) != first
