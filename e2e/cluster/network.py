"""The machine's network as the cluster changes it: an address, two settings, links and filters.

The node's address sits on the loopback device (not every kernel has dummy links): pods reach it
through the bridge, the host reaches it directly. Packet-filter rules are made by kube-proxy,
kube-router and CNI plugins in chains of their own names; `clean` takes these and only these away,
by reading the tables and writing them back without the lines that speak of such chains.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from e2e.cluster import owner
from e2e.cluster.host import run
from e2e.cluster.settings import BRIDGE, NODE_ADDRESS, ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHAIN = r"(?:KUBE|CNI)-[\w-]+"
_OURS = re.compile(rf"^:{_CHAIN} |^-A {_CHAIN}|-[jg] {_CHAIN}")
_SETS = re.compile(r"^(?:inet6:)?(?:KUBE|kube-router)-")
_TOOLS = ("iptables", "ip6tables")


def prepare() -> None:
    """Give the node its address and let it forward packets."""
    if NODE_ADDRESS not in _addresses():
        run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo")
    run("modprobe", "-a", "br_netfilter", "overlay", check=False)
    for name in owner.SWITCHED_ON:
        if owner.sysctl(name).exists():
            owner.sysctl(name).write_text("1")


def check_unused() -> None:
    """Refuse a machine on which another Kubernetes sets packet filters."""
    if strange := [line for line in _rules("iptables") if line.startswith(":KUBE-")]:
        raise ClusterError(
            f"Another Kubernetes sets packet filters on this machine ({strange[0].split()[0][1:]} "
            "and others): stop it and remove its rules, or use CLUSTER=current."
        )


def clean(sysctls: Mapping[str, str]) -> None:
    """Take away links, rules, sets and the address; put the kernel settings back."""
    for link in links():
        run("ip", "link", "delete", link, check=False)
    for tool in _TOOLS:
        if any(_OURS.search(line) for line in _rules(tool)):
            kept = without_ours("\n".join(_rules(tool)))
            run(f"{tool}-restore", stdin=kept)
    for name in sets():
        run("ipset", "destroy", name, check=False)
    run("ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo", check=False)
    for name, value in sysctls.items():
        if owner.sysctl(name).exists():
            owner.sysctl(name).write_text(value)


def without_ours(rules: str) -> str:
    r"""Return saved rules without the chains of Kubernetes and what jumps into them.

    >>> print(without_ours("*nat\n:KUBE-X - [0:0]\n:MINE - [0:0]\n-A OUTPUT -j KUBE-X\nCOMMIT"))
    *nat
    :MINE - [0:0]
    COMMIT
    """
    lines = rules.splitlines()
    return "\n".join(line for line in lines if not _OURS.search(line)) + "\n"


def traces() -> list[str]:
    """Return what the cluster left in the machine's network."""
    found = [f"link {link}" for link in links()]
    for tool in _TOOLS:
        found += [f"{tool} {line}" for line in _rules(tool) if _OURS.search(line)][:3]
    found += [f"ipset {name}" for name in sets()]
    if NODE_ADDRESS in _addresses():
        found.append(f"address {NODE_ADDRESS} on lo")
    return found


def links() -> list[str]:
    """Return our bridge and the pods' ends that hang on it."""
    everything = _json("ip", "-json", "link")
    names = [link["ifname"] for link in everything if link.get("master") == BRIDGE]
    return [*names, *(link["ifname"] for link in everything if link["ifname"] == BRIDGE)]


def sets() -> list[str]:
    """Return the address sets of kube-router and kube-proxy."""
    names = run("ipset", "list", "-name", check=False).stdout.split()
    return [name for name in names if _SETS.match(name)]


def _rules(tool: str) -> list[str]:
    return run(f"{tool}-save", check=False).stdout.splitlines()


def _addresses() -> set[str]:
    devices = _json("ip", "-json", "address", "show", "dev", "lo")
    return {entry["local"] for device in devices for entry in device["addr_info"]}


def _json(*command: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*command).stdout or "[]")
    return found
