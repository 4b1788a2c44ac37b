"""Where a source may lead: judgement of addresses before anything connects to them.

A model's address is a user's word, and a server may redirect to anywhere. A job must not become a
way to reach what its pod can reach and the user should not: the node's metadata service, the API
server, a program that listens on loopback. So every hop is judged twice, by its name and by the
addresses that the name has, and the connection goes to an address that was judged.

Pure: names and addresses in, a verdict out. An empty verdict means that nothing is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urljoin, urlsplit

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.source import SourceError

MAX_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\Z")
_BAD_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
# Names that clouds give to the service which hands a node's credentials to whoever asks.
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data"}
    | {"instance-data.ec2.internal", "metadata.azure.internal", "metadata.tencentyun.com"}
)
# The same service, and its kin, where it has no link-local address: AWS over IPv6, Alibaba, Azure,
# Oracle.
_METADATA_ADDRESSES = frozenset(
    {"fd00:ec2::254", "fd00:ec2::253", "fd20:ce::254"}
    | {"100.100.100.200", "168.63.129.16", "192.0.0.192"}
)
# IPv6 addresses that carry an IPv4 address a gateway may unwrap: where, and how far from the right.
_EMBEDDING = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("::/96"), 0),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Kind(Enum):
    """What an address reaches, by itself."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    FORBIDDEN = "forbidden"  # link-local, unspecified, multicast, reserved, metadata


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what may see a secret that was meant for it."""

    scheme: str
    host: str  # lower case, without brackets and without a final dot
    port: int

    def __str__(self) -> str:
        """As people write it, without a port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the administrator allows."""

    plain_hosts: frozenset[str] = frozenset()  # HOST or HOST:PORT: no TLS, loopback, private
    private_hosts: bool = True
    named: frozenset[Origin] = frozenset()  # named by the administrator: no TLS, private
    api_server: frozenset[str] = frozenset()  # addresses

    def trusts(self, origin: Origin) -> bool:
        """Whether the administrator listed this host."""
        return bool({origin.host, str(origin), f"{origin.host}:{origin.port}"} & self.plain_hosts)


def policy_of(config: FetchConfig, environ: Mapping[str, str]) -> Policy:
    """Take the rules from a job's configuration, and the API server from its environment."""
    named = [url for url in (config.hub, config.object_endpoint) if url]
    names = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_PORT_443_TCP_ADDR")
    api = (environ.get(name, "") for name in names)
    return Policy(
        plain_hosts=frozenset(_host_name(host.lower()) for host in config.plain_hosts),
        private_hosts=config.private_hosts,
        named=frozenset(origin_of(url) for url in named),
        api_server=frozenset(str(parsed) for text in api if (parsed := literal(text))),
    )


def origin_of(url: str) -> Origin:
    """Take an address apart; SourceError says what no address may have."""
    if _BAD_IN_URL.search(url):
        raise _invalid("an address has blanks, control characters or backslashes in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("an address cannot be read: its host or port is malformed") from None
    if parts.scheme not in _PORTS:
        raise _forbidden(f"{parts.scheme or 'an address without a scheme'} is not https")
    if parts.username is not None or parts.password is not None:
        raise _invalid(
            "an address has a user or password in it: put them into the Secret, and write the "
            "address without them"
        )
    host = _host_name(parts.hostname or "")
    if not host or not (literal(host) or _NAME.match(host)):
        raise _invalid(f"{host[:80]!r} is no host name")
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme])


def _host_name(host: str) -> str:
    if host.isascii():
        return host.removesuffix(".")
    try:
        return host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        return host


def literal(host: str) -> Address | None:
    """Return the address that a host is, or None where it is a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return _unwrapped(address)


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address in {ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1")}:
        return address
    for network, shift in _EMBEDDING:
        if address in network:
            return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


def kind_of(address: Address) -> Kind:
    """Say what an address reaches."""
    address = _unwrapped(address)
    if address.is_loopback:
        return Kind.LOOPBACK
    if (
        address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or (isinstance(address, ipaddress.IPv4Address) and address.packed[0] in {0, 255})
        or (isinstance(address, ipaddress.IPv4Address) and address.is_reserved)
        or str(address) in _METADATA_ADDRESSES
        or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
        or (isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None)
    ):
        return Kind.FORBIDDEN
    return Kind.PUBLIC if address.is_global else Kind.PRIVATE


def judge_name(origin: Origin, policy: Policy) -> str:
    """Say what is wrong with a host by its name, before it is resolved."""
    if origin.scheme == "http" and not (policy.trusts(origin) or origin in policy.named):
        return (
            f"{origin} would be read without TLS: write https://, or let an administrator list the "
            "host among those allowed without it"
        )
    if origin.host in _METADATA_NAMES:
        return f"{origin} is a metadata service, not a place for models"
    if origin.host in {"kubernetes", "kubernetes.default"} or origin.host.startswith(
        "kubernetes.default.svc"
    ):
        return f"{origin} is the cluster's API server, not a place for models"
    return ""


def judge_address(address: Address, origin: Origin, policy: Policy, *, public: bool) -> str:
    """Say what is wrong with one address of a host.

    `public` says that the source itself has a public address, so no private one may follow.
    """
    if str(_unwrapped(address)) in policy.api_server:
        return f"{origin} leads to the cluster's API server, not to a place for models"
    kind = kind_of(address)
    if kind is Kind.FORBIDDEN:
        return f"{origin} leads to {address}, where no model may come from"
    if kind is Kind.LOOPBACK and not policy.trusts(origin):
        return f"{origin} leads to the job's own pod ({address}), where no model may come from"
    if kind is not Kind.PUBLIC and public:
        return f"a public source redirects to {origin}, which has the private address {address}"
    listed = policy.trusts(origin) or origin in policy.named
    if kind is Kind.PRIVATE and not policy.private_hosts and not listed:
        return f"{origin} has the private address {address}, which an administrator has ruled out"
    return ""


def judge(
    origin: Origin, addresses: Iterable[Address], policy: Policy, *, public: bool = False
) -> None:
    """Raise SourceError when a host may not be read; one bad address among several is enough."""
    verdicts = [judge_name(origin, policy)]
    verdicts += [judge_address(each, origin, policy, public=public) for each in addresses]
    wrong = next(filter(None, verdicts), "")
    if wrong:
        raise _forbidden(wrong)


def redirected(url: str, location: str | None, hops: int) -> str:
    """Return where a redirect leads; SourceError where it leads nowhere or never ends."""
    origin = origin_of(url)
    if not location:
        raise _invalid(f"{origin} redirects without saying where to")
    if hops >= MAX_REDIRECTS:
        raise _invalid(f"{origin} redirects more than {MAX_REDIRECTS} times: a loop")
    if _BAD_IN_URL.search(location):
        raise _forbidden(f"{origin} redirects to an address with blanks or control characters")
    target = urljoin(url, location).partition("#")[0]
    if origin.scheme == "https" and urlsplit(target).scheme == "http":
        raise _forbidden(f"{origin} redirects from https to an address without TLS")
    return target


def bypasses_proxy(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY covers a host: names, domains, addresses and networks (a.b.c.d/n)."""
    address = literal(host)
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        if entry == "*" or (entry and host == entry):
            return True
        if address is None:
            domain = entry.removeprefix("*").lstrip(".")
            if domain and (host == domain or host.endswith(f".{domain}")):
                return True
        elif _in_network(address, entry):
            return True
    return False


def _in_network(address: Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _forbidden(message: str) -> SourceError:
    return SourceError(FetchReason.SOURCE_FORBIDDEN, message)


def _invalid(message: str) -> SourceError:
    return SourceError(FetchReason.SOURCE_INVALID, message)
