"""The whole job before a hub that fails as hubs do: whole in the end, or a reason and no model."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker_worker.cachecontract import FETCH, MODELS, FetchConfig, FetchReason, FetchResult
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.job import Job, Tools
from stoker_worker.fetch.progress import Meter
from stoker_worker.fetch.sources import open_source
from tests.integration.worker.fetching import NAME, make_model
from tests.support.hub import Hub
from tests.support.web import Answer, Fault, Request, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = "tests/small"
TOKEN = "hf_of-this-test"
LARGE = "tokenizer.model"


@dataclass
class Site:
    """A hub with one model, and a volume."""

    hub: Hub
    original: Path
    volume: Path
    secret: Path
    said: list[str] = field(default_factory=list)

    def fetch(self, **changes: Any) -> FetchResult:
        values: dict[str, Any] = {
            "task": FETCH,
            "uri": f"hf://{REPO}",
            "folder": NAME,
            "hub": self.hub.url,
            "plain_hosts": self.hub.hosts,
            "patience_s": 20.0,
        }
        config = FetchConfig(**{**values, **changes})
        nowhere = self.volume / "nowhere"
        tools = Tools(
            source=lambda: open_source(config, self.secret, nowhere, nowhere),
            meter=Meter(FETCH),
            say=self.said.append,
            stop=threading.Event(),
            volume=self.volume,
        )
        return Job(config, tools).run()

    def model(self) -> dict[str, bytes]:
        """What is published."""
        folder = self.volume / MODELS / NAME
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }

    def wanted(self) -> dict[str, bytes]:
        """What the hub has, less what no engine needs."""
        return {
            path.relative_to(self.original).as_posix(): path.read_bytes()
            for path in self.original.rglob("*")
            if path.is_file() and path.suffix != ".md"
        }

    def large(self) -> int:
        """Bytes of the file that has several chunks."""
        return (self.original / LARGE).stat().st_size

    def flip(self, times: int | None) -> Fault:
        """Let a bit near the end of that file flip on the way."""
        (tree,) = self.hub.repositories[REPO].commits.values()
        where, at = f"*{tree[LARGE].sha256}*", self.large() - 5
        return self.hub.cdn.fail(where=where, method="GET", flip_at=at, times=times)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    original = make_model(tmp_path / "original")
    (tmp_path / "volume").mkdir()
    (tmp_path / "secret").mkdir()
    with Hub() as hub:
        hub.add(REPO, original)
        yield Site(hub, original, tmp_path / "volume", tmp_path / "secret")


def test_nothing_fails(site: Site) -> None:
    result = site.fetch()
    assert site.model() == site.wanted()
    assert result.fetched == result.bytes == sum(map(len, site.wanted().values()))


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        ("hub", {"where": "/api/models/*", "status": 429, "headers": {"Retry-After": "1"}}),
        ("hub", {"where": "*resolve*", "status": 429, "times": 3, "headers": {"Retry-After": "0"}}),
        ("hub", {"where": "*", "status": 500, "times": 2}),
        ("hub", {"where": "*resolve*", "status": 503, "times": 2}),
        ("cdn", {"status": 500, "times": 3}),
        ("cdn", {"status": 429, "times": 2, "headers": {"Retry-After": "0"}}),
        ("cdn", {"cut_after": 100_000, "times": 4}),
        ("cdn", {"cut_after": 0, "times": 2}),
        ("cdn", {"longer": -5, "times": 1}),
        ("cdn", {"longer": 5, "cut_after": 9_000, "times": 1}),
        ("cdn", {"delay_s": 0.3, "times": 2}),
        ("cdn", {"bytes_per_second": 20_000_000, "times": 2}),
    ],
)
def test_what_passes_ends_well(site: Site, server: str, fault: dict[str, Any]) -> None:
    made = getattr(site.hub, server).fail(**fault)
    site.fetch()
    assert made.met
    assert site.model() == site.wanted()


def test_a_source_that_limits_is_left_alone_as_long_as_it_says(site: Site) -> None:
    made = site.hub.cdn.fail(status=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    site.fetch()
    assert made.met == 1
    assert time.monotonic() - began >= 1
    assert site.model() == site.wanted()


def test_signatures_that_expired_are_asked_for_again(site: Site) -> None:
    """Each file's first address is too old when it is used; with two connections one of them could
    make the other's second one too old as well.
    """
    application = site.hub.cdn.application
    late: set[str] = set()

    def too_late(request: Request) -> Answer:
        if request.bare not in late:
            late.add(request.bare)
            site.hub.expire_signatures()
        return application(request)

    site.hub.cdn.application = too_late
    site.fetch(parallel=1)
    assert site.model() == site.wanted()
    assert sum(seen.status == 403 for seen in site.hub.cdn.seen) == len(late) > 1


def test_a_bit_that_flips_on_the_way_costs_one_file(site: Site) -> None:
    fault = site.flip(1)
    result = site.fetch()
    assert fault.met == 1
    assert site.model() == site.wanted()
    assert result.bytes < result.fetched <= result.bytes + site.large()


def test_a_source_that_keeps_sending_what_it_did_not_promise_is_refused(site: Site) -> None:
    site.flip(None)
    with pytest.raises(FetchError) as caught:
        site.fetch()
    assert caught.value.reason == FetchReason.DIGEST_MISMATCH
    assert LARGE in caught.value.message
    assert site.model() == {}, "nothing that is not whole is published"


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "https://kubernetes.default.svc/api",
        "file:///etc/passwd",
        "http://plain.example/model",
    ],
)
def test_a_redirect_to_where_no_model_is(site: Site, address: str) -> None:
    site.hub.hub.fail(where="*resolve*", redirect=address, times=None)
    with pytest.raises(FetchError) as caught:
        site.fetch()
    assert caught.value.reason == FetchReason.SOURCE_FORBIDDEN
    assert site.model() == {}


def test_redirects_without_end(site: Site) -> None:
    site.hub.hub.fail(where="*resolve*", redirect="{self}", times=None)
    with pytest.raises(FetchError) as caught:
        site.fetch(patience_s=2.0)
    assert caught.value.reason == FetchReason.SOURCE_INVALID
    assert "loop" in caught.value.message
    assert site.model() == {}


def test_a_token_goes_to_the_hub_alone_and_into_no_word(site: Site) -> None:
    repository = site.hub.repositories[REPO]
    site.hub.tokens.add(TOKEN)
    repository.private = True
    with pytest.raises(FetchError) as caught:
        site.fetch()
    assert caught.value.reason in {FetchReason.UNAUTHORIZED, FetchReason.SOURCE_NOT_FOUND}
    (site.secret / "token").write_text(TOKEN)
    with pytest.raises(FetchError) as caught:
        site.fetch()
    assert TOKEN not in str(caught.value)
    repository.readers.add(TOKEN)
    with WebServer(lambda _: Answer(200, site.original / "config.json")) as elsewhere:
        # A redirect to another host that is allowed; it may have the request and not the token.
        hosts = [*site.hub.hosts, elsewhere.netloc]
        fault = site.hub.hub.fail(where="*resolve*config.json*", redirect=f"{elsewhere.url}/x")
        site.fetch(plain_hosts=hosts)
        assert fault.met
        assert elsewhere.seen
        assert {seen.authorization for seen in elsewhere.seen} == {None}
    assert site.model() == site.wanted()
    assert {seen.authorization for seen in site.hub.cdn.seen} == {None}
    assert f"Bearer {TOKEN}" in {seen.authorization for seen in site.hub.hub.seen}
    assert not any(TOKEN in text or "Signature" in text for text in site.said)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"revision": "nowhere"}, FetchReason.REVISION_NOT_FOUND),
        ({"uri": "hf://tests/none"}, FetchReason.UNAUTHORIZED),
        ({"max_bytes": 1000}, FetchReason.SOURCE_TOO_LARGE),
        ({"digests": {LARGE: "0" * 64}}, FetchReason.DIGEST_MISMATCH),
    ],
)
def test_what_cannot_be_had_leaves_nothing(
    site: Site, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FetchError) as caught:
        site.fetch(**changes)
    assert caught.value.reason == reason
    assert site.model() == {}


def test_a_hub_that_goes_away_and_comes_back(site: Site) -> None:
    site.hub.cdn.fail(bytes_per_second=8_000_000, times=None)

    def interrupt() -> None:
        while site.hub.cdn.sent() < 1_000_000:
            time.sleep(0.01)
        site.hub.stop()
        time.sleep(1)
        site.hub.cdn.faults.clear()
        site.hub.start()

    away = threading.Thread(target=interrupt)
    away.start()
    result = site.fetch()
    away.join()
    assert site.model() == site.wanted()
    assert result.fetched >= result.bytes


def test_once_it_is_there_nobody_is_asked(site: Site) -> None:
    site.fetch()
    site.hub.stop()
    assert site.fetch().fetched == 0
    site.hub.start()
