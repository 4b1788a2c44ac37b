"""What people and programs are told of a job, and what they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker_worker.cachecontract import FETCH, FetchReason, Progress
from stoker_worker.fetch import words
from stoker_worker.fetch.disk import blocks, refusal
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.page import metrics
from stoker_worker.fetch.progress import DONE, DOWNLOADING, VERIFYING, Meter, sentence
from stoker_worker.fetch.redact import HIDDEN, Redactor, public


class Clock:
    now = 5000.0

    def __call__(self) -> float:
        return self.now


def _meter() -> tuple[Meter, Clock]:
    clock = Clock()
    meter = Meter(FETCH, "uid-1", clock=clock, clean=Redactor(["hf_secret"]).clean)
    meter.expect(1000, 3)
    meter.enter(DOWNLOADING)
    return meter, clock


def test_speed_is_of_the_last_seconds_and_the_rest_follows_from_it() -> None:
    meter, clock = _meter()
    for _ in range(20):
        meter.got(10)
        clock.now += 1
    told = meter.progress()
    assert (told.done, told.files_done, told.uid) == (200, 0, "uid-1")
    assert told.speed == pytest.approx(10, rel=0.2)
    assert told.remaining_s == pytest.approx(80, rel=0.25)
    clock.now += 100
    assert meter.progress().speed == 0
    assert meter.progress().remaining_s is None
    assert Progress.parse(told.to_json()) == told


def test_what_was_there_is_no_speed_and_what_is_lost_counts_no_more() -> None:
    meter, clock = _meter()
    meter.kept(500, 1)
    clock.now += 1
    assert (meter.progress().done, meter.progress().speed) == (500, 0)
    meter.lost(200)
    meter.file_done()
    assert (meter.progress().done, meter.progress().files_done, meter.fetched) == (300, 2, 0)


def test_waiting_says_why_and_until_when_and_ends_with_the_next_byte() -> None:
    meter, clock = _meter()
    why = FetchError(FetchReason.RATE_LIMITED, "the hub limits hf_secret", passes=True)
    assert meter.waiting(clock.now + 30, why) == 30
    told = meter.progress()
    assert (told.state, told.reason, told.until) == ("waiting", "RateLimited", clock.now + 30)
    assert told.message == f"the hub limits {HIDDEN}"
    assert sentence(told).startswith("waiting until 1970-01-01T01:23:50Z: RateLimited")
    meter.got(1)
    assert (meter.progress().state, meter.progress().reason) == (DOWNLOADING, "")
    assert meter.waiting(clock.now - 1, why) < 0
    assert meter.progress().state == DOWNLOADING


def test_a_line_for_the_log() -> None:
    progress = Progress(FETCH, VERIFYING, "", 16 << 30, 4 << 30, 7, 2, 512 << 20, 24.0)
    assert sentence(progress) == (
        "verifying: 4.0 GiB of 16.0 GiB (25 %), 2 of 7 files, 512.0 MiB/s, 24 s left"
    )
    assert sentence(Progress(FETCH, DONE, "")) == "done"


def test_the_page_for_prometheus_has_a_type_for_each_series() -> None:
    text = metrics(Progress(FETCH, DOWNLOADING, "", 100, 50, 3, 1, 7.5))
    assert "stoker_fetch_done_bytes 50.0\n" in text
    assert 'stoker_fetch_state{task="fetch",state="downloading"} 1\n' in text
    series = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"}
    assert series == {line.split(" ")[2] for line in text.splitlines() if "# TYPE" in line}


def test_secrets_are_taken_out_wherever_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_abcdef/+=\n")
    (tmp_path / "short").write_text("abc")
    (tmp_path / "AWS_REGION").write_text("eu-central-1")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"h": {"password": "pass/word"}}}))
    (tmp_path / "..data").mkdir()
    redactor = Redactor.of(tmp_path)
    text = "hf_abcdef/+= hf_abcdef%2F%2B%3D pass/word abc eu-central-1"
    assert redactor.clean(text) == f"{HIDDEN} {HIDDEN} {HIDDEN} abc eu-central-1"
    assert Redactor.of(tmp_path / "nosuch").clean("as it is") == "as it is"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("hf://org/model", "hf://org/model"),
        ("https://user:pass@host/a/b?X-Amz-Signature=1&b=2", "https://host/a/b"),
        ("https://host/a#part", "https://host/a"),
        ("s3://key:secret@bucket/models/", "s3://bucket/models/"),
    ],
)
def test_an_address_without_what_signs_it(uri: str, shown: str) -> None:
    assert public(uri) == shown
    assert Redactor([]).clean(f"'{uri}' failed") == f"'{shown}' failed"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (17072495001, "15.9 GiB"), (1 << 60, "1024.0 PiB")],
)
def test_sizes_in_words(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"), (-5, "0 s")]
)
def test_spans_in_words(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


class Space:
    f_frsize = 4096

    def __init__(self, free: int) -> None:
        self.f_bavail = free // 4096


def test_a_disk_that_is_too_small_is_named_with_both_numbers() -> None:
    refused = refusal(17072495001, Space(3435973837), 1 << 30, "the volume")  # type: ignore[arg-type]
    assert refused is not None
    assert refused.reason == FetchReason.NOT_ENOUGH_DISK
    assert not refused.passes
    assert refused.message == (
        "needs 15.9 GiB, 3.2 GiB free on the volume, of which 1.0 GiB are to stay free"
    )
    assert refusal(1 << 30, Space(3 << 30), 1 << 30, "") is None  # type: ignore[arg-type]
    assert refusal(2 << 30, Space(3 << 30), 1 << 30, "") is not None  # type: ignore[arg-type]
    assert refusal(0, Space(0), 1 << 30, "") is None, "nothing needs no room"  # type: ignore[arg-type]
    assert blocks([0, 1, 4096, 4097]) == 4096 * 4
