"""What a server's answer means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.answers import check_range, refusal, retry_at

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "moment"),
    [
        ({}, None),
        ({"Retry-After": "17"}, NOW + 17),
        ({"Retry-After": " 0 "}, NOW),
        ({"Retry-After": "1.5"}, NOW + 1.5),
        ({"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}, NOW + 60),
        ({"Retry-After": "Tue, 14 Nov 2023 22:12:20 GMT"}, NOW),  # passed already
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "nan"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, NOW + 55),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"Retry-After": "2", "RateLimit": '"api";r=0;t=55'}, NOW + 2),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], moment: float | None) -> None:
    assert retry_at(headers, NOW) == moment


@given(st.text(max_size=60))
def test_whatever_a_server_says_of_waiting_is_a_moment_or_nothing(told: str) -> None:
    moment = retry_at({"Retry-After": told}, NOW)
    assert moment is None or moment >= NOW


@pytest.mark.parametrize(
    ("status", "headers", "reason", "passes"),
    [
        (401, {}, FetchReason.UNAUTHORIZED, False),
        (403, {}, FetchReason.UNAUTHORIZED, False),
        (404, {}, FetchReason.SOURCE_NOT_FOUND, False),
        (410, {}, FetchReason.SOURCE_NOT_FOUND, False),
        (429, {}, FetchReason.RATE_LIMITED, True),
        (503, {"Retry-After": "3"}, FetchReason.RATE_LIMITED, True),
        (503, {}, FetchReason.SOURCE_UNREACHABLE, True),
        (500, {}, FetchReason.SOURCE_UNREACHABLE, True),
        (400, {}, FetchReason.SOURCE_UNREACHABLE, False),
        (405, {}, FetchReason.SOURCE_UNREACHABLE, False),
    ],
)
def test_a_refusal_has_a_reason(
    status: int, headers: dict[str, str], reason: str, *, passes: bool
) -> None:
    error = refusal(status, headers, "host", "a file", NOW)
    assert (error.reason, error.passes) == (reason, passes)
    assert "host" in error.message
    assert "a file" in error.message


def test_a_part_that_was_asked_for_is_taken() -> None:
    check_range(
        206, {"Content-Range": "bytes 5-9/20", "Content-Length": "5"}, 5, 10, size=20, what="f"
    )
    check_range(206, {"Content-Range": "bytes 5-9/*"}, 5, 10, size=20, what="f")
    check_range(200, {"Content-Length": "20"}, 0, 20, size=20, what="f")
    check_range(200, {}, 0, 20, size=20, what="f")


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (200, {"Content-Length": "20"}, "ignores"),
        (416, {"Content-Range": "bytes */4"}, "fewer"),
        (206, {"Content-Length": "5"}, "another part"),
        (206, {"Content-Range": "bytes 0-4/20", "Content-Length": "5"}, "another part"),
        (206, {"Content-Range": "bytes 5-10/20"}, "another part"),
        (206, {"Content-Range": "bytes 5-9/21", "Content-Length": "5"}, "the server has 21"),
        (206, {"Content-Range": "bytes 5-9/20", "Content-Length": "6"}, "6 are sent"),
        (206, {"Content-Range": "bytes 5-9/20", "Content-Encoding": "gzip"}, "encoded as gzip"),
    ],
)
def test_another_part_is_refused(status: int, headers: dict[str, str], said: str) -> None:
    with pytest.raises(SourceError, match=said) as error:
        check_range(status, headers, 5, 10, size=20, what="f")
    assert error.value.reason == FetchReason.DIGEST_MISMATCH
    assert not error.value.passes


@pytest.mark.parametrize(
    ("status", "length"), [(206, "20"), (200, "19"), (200, "21"), (200, "-1"), (200, "x")]
)
def test_another_length_is_refused(status: int, length: str) -> None:
    with pytest.raises(SourceError):
        check_range(status, {"Content-Length": length}, 0, 20, size=20, what="f")
