"""Where a source may lead: every decision as a value."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import (
    MAX_REDIRECTS,
    Kind,
    Origin,
    Policy,
    bypasses_proxy,
    judge,
    judge_address,
    judge_name,
    kind_of,
    literal,
    origin_of,
    policy_of,
    redirected,
)

HUB = Origin("https", "huggingface.co", 443)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1.1.1.1", Kind.PUBLIC),
        ("2606:4700::1111", Kind.PUBLIC),
        ("10.0.0.1", Kind.PRIVATE),
        ("172.31.255.255", Kind.PRIVATE),
        ("192.168.0.1", Kind.PRIVATE),
        ("100.64.0.1", Kind.PRIVATE),  # carriers' addresses, which clusters use too
        ("fd12::1", Kind.PRIVATE),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.8.8.8", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("169.254.169.254", Kind.FORBIDDEN),
        ("169.254.0.1", Kind.FORBIDDEN),
        ("fe80::1", Kind.FORBIDDEN),
        ("fe80::1%eth0", Kind.FORBIDDEN),
        ("fec0::1", Kind.FORBIDDEN),
        ("0.0.0.0", Kind.FORBIDDEN),  # noqa: S104
        ("0.1.2.3", Kind.FORBIDDEN),
        ("::", Kind.FORBIDDEN),
        ("224.0.0.1", Kind.FORBIDDEN),
        ("ff02::1", Kind.FORBIDDEN),
        ("255.255.255.255", Kind.FORBIDDEN),
        ("240.0.0.1", Kind.FORBIDDEN),
        ("fd00:ec2::254", Kind.FORBIDDEN),
        ("100.100.100.200", Kind.FORBIDDEN),
        ("168.63.129.16", Kind.FORBIDDEN),
        # IPv4 addresses in the clothes of IPv6.
        ("::ffff:169.254.169.254", Kind.FORBIDDEN),
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("::127.0.0.1", Kind.LOOPBACK),
        ("::ffff:0:169.254.169.254", Kind.FORBIDDEN),
        ("64:ff9b::a9fe:a9fe", Kind.FORBIDDEN),
        ("64:ff9b:1::7f00:1", Kind.LOOPBACK),
        ("2002:a9fe:a9fe::1", Kind.FORBIDDEN),
        ("2002:7f00:1::", Kind.LOOPBACK),
        ("2002:a00:1::", Kind.PRIVATE),
    ],
)
def test_what_an_address_reaches(text: str, kind: Kind) -> None:
    assert kind_of(ipaddress.ip_address(text)) is kind


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_the_same_in_every_clothing(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    clothed = [
        (0xFFFF << 32) | number,
        (0x64FF9B << 96) | number,
        (0x2002 << 112) | (number << 80),
    ]
    for each in clothed:
        assert kind_of(ipaddress.IPv6Address(each)) is kind_of(address)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://huggingface.co/a", HUB),
        ("https://HuggingFace.CO.:443/a", HUB),
        ("https://[2606:4700::1]:8443/", Origin("https", "2606:4700::1", 8443)),
        ("http://mirror:8080", Origin("http", "mirror", 8080)),
        ("https://bücher.example/x", Origin("https", "xn--bcher-kva.example", 443)),
    ],
)
def test_an_origin_is_read(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "reason", "said"),
    [
        ("ftp://host/x", FetchReason.SOURCE_FORBIDDEN, "ftp is not https"),
        ("file:///etc/passwd", FetchReason.SOURCE_FORBIDDEN, "file is not https"),
        ("gopher://host/x", FetchReason.SOURCE_FORBIDDEN, "gopher is not https"),
        ("//host/x", FetchReason.SOURCE_FORBIDDEN, "without a scheme"),
        ("https://user:s3cret@host/x", FetchReason.SOURCE_INVALID, "into the Secret"),
        ("https://token@host/x", FetchReason.SOURCE_INVALID, "into the Secret"),
        ("https:///x", FetchReason.SOURCE_INVALID, "no host name"),
        ("https://host:99999/", FetchReason.SOURCE_INVALID, "malformed"),
        ("https://[::1/", FetchReason.SOURCE_INVALID, "malformed"),
        ("https://good.example\\@evil/", FetchReason.SOURCE_INVALID, "backslashes"),
        ("https://host/a b", FetchReason.SOURCE_INVALID, "blanks"),
        ("https://host/\r\nX: y", FetchReason.SOURCE_INVALID, "control"),
        ("https://ho%73t/", FetchReason.SOURCE_INVALID, "no host name"),
        ("https://a..b/", FetchReason.SOURCE_INVALID, "no host name"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, reason: str, said: str) -> None:
    with pytest.raises(SourceError) as error:
        origin_of(url)
    assert error.value.reason == reason
    assert said in error.value.message
    assert "s3cret" not in error.value.message
    assert not error.value.passes


@pytest.mark.parametrize(
    "url",
    [
        "https://metadata.google.internal/computeMetadata/v1/",
        "https://metadata/",
        "https://kubernetes/api",
        "https://kubernetes.default/api",
        "https://kubernetes.default.svc/api",
        "https://kubernetes.default.svc.cluster.local./api",
    ],
)
def test_names_of_metadata_and_of_the_api_server_are_refused(url: str) -> None:
    assert judge_name(origin_of(url), Policy(plain_hosts=frozenset({origin_of(url).host})))


def test_plain_http_is_for_hosts_that_an_administrator_named() -> None:
    mirror = Origin("http", "mirror", 8080)
    assert "without TLS" in judge_name(mirror, Policy())
    for listed in ("mirror", "mirror:8080"):
        assert not judge_name(mirror, Policy(plain_hosts=frozenset({listed})))
    assert judge_name(mirror, Policy(plain_hosts=frozenset({"mirror:80"})))
    assert not judge_name(mirror, Policy(named=frozenset({mirror})))
    assert judge_name(Origin("http", "mirror", 81), Policy(named=frozenset({mirror})))


def test_loopback_is_for_hosts_that_an_administrator_listed_as_plain() -> None:
    local = Origin("http", "127.0.0.1", 9000)
    address = ipaddress.ip_address("127.0.0.1")
    listed = Policy(plain_hosts=frozenset({"127.0.0.1:9000"}))
    assert not judge_address(address, local, listed, public=False)
    named = Policy(named=frozenset({local}))
    assert "own pod" in judge_address(address, local, named, public=False)
    assert "own pod" in judge_address(address, HUB, listed, public=False)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.1", "224.0.0.9"])
def test_nobody_can_allow_what_is_forbidden(address: str) -> None:
    origin = Origin("http", "host", 80)
    policy = Policy(plain_hosts=frozenset({"host"}), named=frozenset({origin}))
    assert judge_address(ipaddress.ip_address(address), origin, policy, public=False)


def test_the_api_server_is_refused_by_its_address() -> None:
    policy = policy_of(
        FetchConfig("fetch", "hf://o/n", plain_hosts=["10.96.0.1"]),
        {"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
    )
    for address in ("10.96.0.1", "::ffff:10.96.0.1"):
        with pytest.raises(SourceError) as error:
            judge(Origin("https", "innocent", 443), [ipaddress.ip_address(address)], policy)
        assert error.value.reason == FetchReason.SOURCE_FORBIDDEN
        assert "API server" in error.value.message


def test_private_addresses_can_be_ruled_out_but_for_hosts_that_were_named() -> None:
    private = ipaddress.ip_address("10.1.2.3")
    strict = Policy(private_hosts=False)
    assert not judge_address(private, HUB, Policy(), public=False)
    assert "ruled out" in judge_address(private, HUB, strict, public=False)
    named = Policy(private_hosts=False, named=frozenset({HUB}))
    assert not judge_address(private, HUB, named, public=False)


def test_a_public_source_leads_to_no_private_address() -> None:
    private, other = ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("1.1.1.1")
    assert "redirects" in judge_address(private, HUB, Policy(), public=True)
    listed = Policy(plain_hosts=frozenset({HUB.host}))
    assert "redirects" in judge_address(private, HUB, listed, public=True)
    assert not judge_address(other, HUB, Policy(), public=True)


def test_one_bad_address_among_good_ones_is_enough() -> None:
    addresses = [ipaddress.ip_address(each) for each in ("1.1.1.1", "169.254.169.254")]
    with pytest.raises(SourceError, match="no model may come from"):
        judge(HUB, addresses, Policy())


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b?x=1#part", "https://a.example/b?x=1"),
        ("b", "https://a.example/dir/b"),
        ("https://cdn.example/b", "https://cdn.example/b"),
        ("//cdn.example/b", "https://cdn.example/b"),
    ],
)
def test_a_redirect_is_followed(location: str, target: str) -> None:
    assert redirected("https://a.example/dir/a", location, 0) == target


@pytest.mark.parametrize(
    ("location", "hops", "reason"),
    [
        (None, 0, FetchReason.SOURCE_INVALID),
        ("/again", MAX_REDIRECTS, FetchReason.SOURCE_INVALID),
        ("http://a.example/b", 0, FetchReason.SOURCE_FORBIDDEN),
        ("/b\r\nSet-Cookie: x", 0, FetchReason.SOURCE_FORBIDDEN),
        ("\\\\evil.example/b", 0, FetchReason.SOURCE_FORBIDDEN),
    ],
)
def test_a_redirect_is_refused(location: str | None, hops: int, reason: str) -> None:
    with pytest.raises(SourceError) as error:
        redirected("https://a.example/a?X-Signature=s3cret", location, hops)
    assert error.value.reason == reason
    assert "s3cret" not in error.value.message


@pytest.mark.parametrize(
    ("host", "no_proxy", "bypassed"),
    [
        ("hub.internal", ".internal", True),
        ("hub.internal", "internal", True),
        ("hub.internal", "*.internal", True),
        ("hubinternal", "internal", False),
        ("10.2.3.4", "10.0.0.0/8, other", True),
        ("11.2.3.4", "10.0.0.0/8", False),
        ("10.2.3.4", "10.2.3.4", True),
        ("fd00::1", "fd00::/8", True),
        ("anything", "*", True),
        ("anything", "", False),
        ("anything", " , ", False),
    ],
)
def test_what_goes_past_the_proxy(host: str, no_proxy: str, *, bypassed: bool) -> None:
    assert bypasses_proxy(host, no_proxy) is bypassed


def test_an_odd_numeral_is_no_address_until_it_is_resolved() -> None:
    assert literal("2130706433") is None
    assert literal("0x7f.1") is None
    assert str(literal("[::ffff:10.0.0.1]")) == "10.0.0.1"
