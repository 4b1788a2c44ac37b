"""The reader against servers that lie, lead astray, break off and limit."""

from __future__ import annotations

import ipaddress
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import Address, Policy
from stoker_worker.fetch.sources.http import Ask, Reader, trust
from tests.support.authority import Authority
from tests.support.scripted import Reply, Route, Web, file, redirect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = bytes(range(256)) * 4096 * 3  # three pieces
SECRET = {"Authorization": "Bearer s3cret", "Cookie": "s3cret"}
ALL = frozenset({"127.0.0.1", "127.0.0.2", "localhost"})


def reader(plain: frozenset[str] = ALL, environ: dict[str, str] | None = None) -> Reader:
    return Reader(Policy(plain_hosts=plain), environ=environ or {})


def read(source: Reader, url: str, start: int = 0, end: int | None = None) -> bytes:
    with source.bytes(Ask(url, "a file", secrets=SECRET), start, end, len(CONTENT)) as pieces:
        return b"".join(pieces)


def refused(source: Reader, url: str, start: int = 0, end: int | None = None) -> SourceError:
    with pytest.raises(SourceError) as error:
        read(source, url, start, end)
    assert "s3cret" not in str(error.value)
    assert "Signature" not in str(error.value)
    return error.value


def test_a_file_and_its_parts_are_read(serve: Callable[..., Web]) -> None:
    web = serve({"/f": file(CONTENT)})
    source = reader()
    assert read(source, f"{web.url}/f") == CONTENT
    assert read(source, f"{web.url}/f", 5, 1_000_000) == CONTENT[5:1_000_000]
    assert read(source, f"{web.url}/f", 7) == CONTENT[7:]
    assert read(source, f"{web.url}/f", len(CONTENT), None) == b""
    assert [asked.headers.get("Range") for asked in web.asked] == [
        None,
        "bytes=5-999999",
        f"bytes=7-{len(CONTENT) - 1}",
    ]
    assert all(asked.headers["Authorization"] == "Bearer s3cret" for asked in web.asked)
    assert all(asked.headers["Host"] == web.address for asked in web.asked)


def test_a_secret_goes_along_on_the_same_host_and_to_no_other(serve: Callable[..., Web]) -> None:
    other = serve({"/f": file(CONTENT)}, host="127.0.0.2")
    web = serve({"/a": redirect("/b", 307), "/b": redirect(f"{other.url}/f?Signature=1")})
    assert read(reader(), f"{web.url}/a") == CONTENT
    assert [asked.headers.get("Authorization") for asked in web.asked] == ["Bearer s3cret"] * 2
    [asked] = other.asked
    assert not {"Authorization", "Cookie", "Referer"} & set(asked.headers)
    assert asked.query == {"Signature": "1"}


def test_a_secret_does_not_come_back_from_another_host(serve: Callable[..., Web]) -> None:
    web = serve({"/f": file(CONTENT)})
    other = serve({"/b": redirect(f"{web.url}/f")}, host="127.0.0.2")
    web.routes["/a"] = redirect(f"{other.url}/b")
    assert read(reader(), f"{web.url}/a") == CONTENT
    assert [asked.headers.get("Authorization") for asked in web.asked] == ["Bearer s3cret", None]


def test_another_port_is_another_host(serve: Callable[..., Web]) -> None:
    other = serve({"/f": file(CONTENT)})
    web = serve({"/a": redirect(f"{other.url}/f")})
    assert read(reader(), f"{web.url}/a") == CONTENT
    assert "Authorization" not in other.asked[0].headers


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
        "https://metadata.google.internal/computeMetadata/v1/",
        "https://kubernetes.default.svc/api/v1/secrets",
        "https://10.96.0.1/api/v1/secrets",
        "https://2852039166/",  # 169.254.169.254 as one number
        "https://0xa9fea9fe/",
        "https://0.0.0.0/",
        "http://127.0.0.3/",
        "https://127.0.0.3/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "https://user:pass@127.0.0.1/",
    ],
)
def test_a_redirect_to_where_no_model_may_come_from(serve: Callable[..., Web], target: str) -> None:
    web = serve({"/a": redirect(target)})
    policy = Policy(plain_hosts=frozenset({"127.0.0.1"}), api_server=frozenset({"10.96.0.1"}))
    error = refused(Reader(policy, environ={}), f"{web.url}/a")
    assert error.reason in {FetchReason.SOURCE_FORBIDDEN, FetchReason.SOURCE_INVALID}
    assert not error.passes
    assert web.paths() == ["/a"]


def test_a_name_is_judged_by_its_addresses_and_asked_once(serve: Callable[..., Web]) -> None:
    """A name that changes its mind after the judgement is connected to as it was judged."""
    web = serve({"/f": file(CONTENT)})
    told: list[str] = []

    def resolver(host: str, _: int) -> list[Address]:
        told.append(host)
        return [ipaddress.ip_address("127.0.0.1" if len(told) == 1 else "169.254.169.254")]

    policy = Policy(plain_hosts=frozenset({"mirror.example"}))
    source = Reader(policy, environ={}, resolver=resolver)
    url = f"http://mirror.example:{web.port}/f"
    assert read(source, url) == CONTENT
    assert told == ["mirror.example"]
    assert refused(source, url).reason == FetchReason.SOURCE_FORBIDDEN
    assert len(web.asked) == 1
    assert web.asked[0].headers["Host"] == f"mirror.example:{web.port}"


def test_the_next_address_is_tried_when_one_does_not_listen(serve: Callable[..., Web]) -> None:
    web = serve({"/f": file(CONTENT)})
    addresses = [ipaddress.ip_address(each) for each in ("127.0.0.9", "127.0.0.1")]
    policy = Policy(plain_hosts=frozenset({"mirror"}))
    source = Reader(policy, environ={}, resolver=lambda *_: list(addresses))
    assert read(source, f"http://mirror:{web.port}/f") == CONTENT


def test_loops_end(serve: Callable[..., Web]) -> None:
    web = serve({"/a": redirect("/b"), "/b": redirect("/a")})
    assert "loop" in refused(reader(), f"{web.url}/a").message
    assert len(web.asked) == 11


def test_loopback_and_plain_http_have_to_be_listed(serve: Callable[..., Web]) -> None:
    web = serve({"/f": file(CONTENT)})
    error = refused(reader(plain=frozenset()), f"{web.url}/f")
    assert error.reason == FetchReason.SOURCE_FORBIDDEN
    error = refused(reader(plain=frozenset()), f"https://{web.address}/f")
    assert "own pod" in error.message
    assert not web.asked


@pytest.mark.parametrize(
    ("route", "start", "reason", "passes"),
    [
        (lambda _: Reply(body=CONTENT), 5, FetchReason.DIGEST_MISMATCH, False),
        (lambda _: Reply(body=CONTENT[:-1]), 0, FetchReason.DIGEST_MISMATCH, False),
        (lambda _: Reply(body=CONTENT + b"x"), 0, FetchReason.DIGEST_MISMATCH, False),
        (file(CONTENT[:100]), 50, FetchReason.DIGEST_MISMATCH, False),
        (file(CONTENT[:100]), 200, FetchReason.DIGEST_MISMATCH, False),
        (lambda _: Reply(body=CONTENT, cut=70_000), 0, FetchReason.SOURCE_UNREACHABLE, True),
        (
            lambda _: Reply(body=CONTENT[:-9], length=len(CONTENT)),
            0,
            FetchReason.SOURCE_UNREACHABLE,
            True,
        ),
        (
            lambda _: Reply(body=CONTENT, headers={"Content-Encoding": "gzip"}),
            0,
            FetchReason.DIGEST_MISMATCH,
            False,
        ),
        (lambda _: Reply(500), 0, FetchReason.SOURCE_UNREACHABLE, True),
        (lambda _: Reply(429), 0, FetchReason.RATE_LIMITED, True),
        (lambda _: Reply(401), 0, FetchReason.UNAUTHORIZED, False),
        (lambda _: Reply(404), 0, FetchReason.SOURCE_NOT_FOUND, False),
        (lambda _: Reply(302), 0, FetchReason.SOURCE_INVALID, False),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for(
    serve: Callable[..., Web], route: Route, start: int, reason: str, *, passes: bool
) -> None:
    web = serve({"/f": route})
    error = refused(reader(), f"{web.url}/f?Signature=s3cret", start)
    assert (error.reason, error.passes) == (reason, passes)


def test_a_limit_says_until_when(serve: Callable[..., Web]) -> None:
    web = serve({"/f": lambda _: Reply(429, headers={"Retry-After": "30"})})
    before = time.time()
    error = refused(reader(), f"{web.url}/f")
    assert error.retry_at is not None
    assert before + 30 <= error.retry_at <= time.time() + 30


def test_a_signature_that_expired_is_renewed_once(serve: Callable[..., Web]) -> None:
    answers = [Reply(403), Reply(body=CONTENT)]
    storage = serve({"/s": lambda _: answers.pop(0)}, host="127.0.0.2")
    signed = (f"{storage.url}/s?Signature={number}" for number in range(9))
    web = serve({"/f": lambda _: Reply(302, headers={"Location": next(signed)})})
    assert read(reader(), f"{web.url}/f") == CONTENT
    assert [asked.query["Signature"] for asked in storage.asked] == ["0", "1"]


def test_a_signature_that_is_never_good_is_unauthorized(serve: Callable[..., Web]) -> None:
    storage = serve({"/s": lambda _: Reply(403)}, host="127.0.0.2")
    web = serve({"/f": redirect(f"{storage.url}/s?Signature=s3cret")})
    assert refused(reader(), f"{web.url}/f").reason == FetchReason.UNAUTHORIZED
    assert len(storage.asked) == 2


def test_leaving_in_the_middle_leaves_nothing_behind(serve: Callable[..., Web]) -> None:
    web = serve({"/f": file(CONTENT)})
    source = reader()
    with source.bytes(Ask(f"{web.url}/f", "a file"), 0, None, len(CONTENT)) as pieces:
        assert CONTENT.startswith(next(pieces))
    assert read(source, f"{web.url}/f") == CONTENT


def test_a_server_that_is_not_there_may_come_back() -> None:
    with Web({}) as gone:
        url = f"{gone.url}/f"
    error = refused(reader(), url)
    assert (error.reason, error.passes) == (FetchReason.SOURCE_UNREACHABLE, True)
    error = refused(reader(), "https://nowhere.invalid/f")
    assert (error.reason, error.passes) == (FetchReason.SOURCE_UNREACHABLE, True)
    assert "resolved" in error.message


def test_a_page_has_an_end(serve: Callable[..., Web]) -> None:
    web = serve({"/p": file(CONTENT)})
    asked = Ask(f"{web.url}/p", "a page")
    with reader().open(asked) as answer, pytest.raises(SourceError) as error:
        answer.page(limit=1000)
    assert error.value.reason == FetchReason.SOURCE_TOO_LARGE


def test_a_proxy_of_the_environment_is_used_and_no_proxy_believed(
    serve: Callable[..., Web],
) -> None:
    proxy = serve({"/f": file(CONTENT)})  # asked with the whole address, it sees the same path
    web = serve({"/f": file(CONTENT)}, host="127.0.0.2")
    environ = {"HTTP_PROXY": f"http://user:pass@{proxy.address}", "NO_PROXY": "127.0.0.2"}
    assert read(reader(environ=environ), f"{web.url}/f") == CONTENT
    assert not proxy.asked
    environ["NO_PROXY"] = ""
    assert read(reader(environ=environ), f"{web.url}/f") == CONTENT
    assert len(proxy.asked) == len(web.asked) == 1
    assert proxy.asked[0].headers["Proxy-Authorization"].startswith("Basic ")


def test_what_is_forbidden_is_forbidden_behind_a_proxy_too(serve: Callable[..., Web]) -> None:
    proxy = serve({"/latest": file(CONTENT)})
    source = reader(environ={"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url})
    for url in ("http://169.254.169.254/latest", "https://metadata.google.internal/latest"):
        assert refused(source, url).reason == FetchReason.SOURCE_FORBIDDEN
    assert not proxy.asked


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    Authority(folder).make()
    return folder


def test_a_private_authority_is_trusted_beside_the_usual_ones(authority: Path) -> None:
    pair = (authority / "apiserver.crt", authority / "apiserver.key")
    tls = trust(authority / "ca.crt")
    policy = Policy(plain_hosts=frozenset({"127.0.0.1", "localhost", "other.example"}))
    with Web({"/f": file(CONTENT)}, tls=pair) as web:
        source = Reader(policy, tls=tls, environ={})
        assert read(source, f"{web.url}/f") == CONTENT
        assert read(source, f"https://localhost:{web.port}/f") == CONTENT
        error = refused(Reader(policy, environ={}), f"{web.url}/f")
        assert "is not trusted" in error.message
        assert not error.passes
        loopback = ipaddress.ip_address("127.0.0.1")
        source = Reader(policy, tls=tls, environ={}, resolver=lambda *_: [loopback])
        assert "is not trusted" in refused(source, f"https://other.example:{web.port}/f").message
    usual = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert tls.cert_store_stats()["x509_ca"] == usual + 1


def test_authorities_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(SourceError, match="PEM") as error:
        trust(tmp_path / "ca.crt")
    assert error.value.reason == FetchReason.CONFIG_INVALID
