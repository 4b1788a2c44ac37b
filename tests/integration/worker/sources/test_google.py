"""gs:// against a bucket that checks what the key of a service account signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources import open_source
from tests.support.google import Account, bucket, listed
from tests.support.scripted import file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.scripted import Web

    Serve = Callable[..., Web]
    Write = Callable[..., Path]

WEIGHTS = bytes(range(256)) * 10_000
FILES = {"config.json": b"{}", "sub/model 1+é&=#.safetensors": WEIGHTS}
TOLD = FetchConfig("fetch", "gs://models/org/tiny", plain_hosts=["127.0.0.1"])


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    return Account(tmp_path_factory.mktemp("account"))


@pytest.fixture
def web(serve: Serve, account: Account) -> Web:
    running = serve({})
    objects = {f"org/tiny/{name}": content for name, content in FILES.items()}
    bucket(running, "models", objects, account)
    return running


def refused(told: FetchConfig, secret_dir: Path) -> SourceError:
    with pytest.raises(SourceError) as error:
        open_source(told, secret_dir=secret_dir).list()
    assert "PRIVATE KEY" not in str(error.value)
    assert "Signature" not in str(error.value)
    return error.value


def test_the_accounts_key_lists_and_reads(web: Web, account: Account, secret: Write) -> None:
    source = open_source(TOLD, secret_dir=secret({"credentials.json": account.key_file(web.url)}))
    found = {}
    for entry in source.list().files:
        with source.read(entry, 0, None) as pieces:
            found[entry.path] = b"".join(pieces)
    assert found == FILES
    weights = next(entry for entry in source.list().files if entry.size == len(WEIGHTS))
    with source.read(weights, 1000, 2_000_000) as pieces:
        assert b"".join(pieces) == WEIGHTS[1000:2_000_000]
    # Nobody else was asked, and what reads objects has signatures alone.
    reads = [asked for asked in web.asked if asked.path != "/models"]
    assert reads
    assert all("Authorization" not in asked.headers for asked in reads)
    assert all("X-Goog-Signature" in asked.query for asked in reads)


def test_the_key_of_another_account_is_refused(web: Web, tmp_path: Path, secret: Write) -> None:
    stranger = Account(tmp_path)
    error = refused(TOLD, secret({"credentials.json": stranger.key_file(web.url)}))
    assert error.reason == FetchReason.UNAUTHORIZED
    assert "credentials.json" in error.message or "its keys" in error.message


def test_a_key_file_for_an_open_bucket_sends_no_token(
    web: Web, account: Account, secret: Write
) -> None:
    text = account.key_file(web.url, disable_oauth=True)
    web.routes["/models"] = listed({"org/tiny/config.json": b"{}"})
    web.routes["/models/org/tiny/config.json"] = file(b"{}")
    source = open_source(TOLD, secret_dir=secret({"credentials.json": text}))
    [entry] = source.list().files
    with source.read(entry, 0, None) as pieces:
        assert b"".join(pieces) == b"{}"
    assert all("Authorization" not in asked.headers for asked in web.asked)


@pytest.mark.parametrize("text", ["{}", "no json", '{"type": "authorized_user"}', "[]"])
def test_a_key_file_that_is_none_is_named(secret: Write, text: str) -> None:
    error = refused(FetchConfig("fetch", "gs://bucket/m"), secret({"credentials.json": text}))
    assert error.reason == FetchReason.UNAUTHORIZED
    assert "service account" in error.message
