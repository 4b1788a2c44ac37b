"""What a server's answer means: status, Retry-After, Content-Range. Pure, time is an argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError

_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\Z")
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?\Z")
# What the hub says beside a 429: how many requests remain, and after how many seconds more do.
_RATE_LIMIT = re.compile(r";\s*r=0+\s*;\s*t=(\d{1,9})(?!\d)")


def retry_at(headers: Mapping[str, str], now: float) -> float | None:
    """Return when a server wants to be asked again, in Unix seconds; None where it does not say.

    Retry-After has seconds or a date (RFC 9110, 10.2.3); else the hub's RateLimit counts.
    """
    told = headers.get("Retry-After", "").strip()
    if _SECONDS.match(told):
        return now + float(told)
    if told:
        try:
            moment = parsedate_to_datetime(told)
        except ValueError:
            moment = None
        if moment is not None:
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(now, moment.timestamp())
    limited = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    return now + float(limited.group(1)) if limited else None


def refusal(
    status: int, headers: Mapping[str, str], host: str, what: str, now: float
) -> SourceError:
    """Return the error for a status that is no success. `what` names what was asked for."""
    later = retry_at(headers, now)
    if status == 429 or (status == 503 and later is not None):
        return SourceError(
            FetchReason.RATE_LIMITED,
            f"{host} limits how much it answers (HTTP {status} for {what})",
            passes=True,
            retry_at=later,
        )
    if status in {401, 403, 407}:
        return SourceError(
            FetchReason.UNAUTHORIZED,
            f"{host} refuses {what} (HTTP {status}): check that the Secret holds the right keys "
            "and that they may read it",
        )
    if status == 412:
        return _mismatch(f"{what} has changed since it was listed")
    if status in {404, 410}:
        return SourceError(FetchReason.SOURCE_NOT_FOUND, f"{host} has no {what} (HTTP {status})")
    return SourceError(
        FetchReason.SOURCE_UNREACHABLE,
        f"{host} answers HTTP {status} for {what}",
        passes=status >= 500 or status in {408, 409, 421, 425},
        retry_at=later,
    )


def check_range(
    status: int, headers: Mapping[str, str], start: int, end: int, *, size: int, what: str
) -> None:
    """Raise SourceError unless an answer is bytes `start` to `end` of a file of `size` bytes.

    A whole file is asked for without a range, so that servers that know none will do.
    """
    encoding = headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if encoding != "identity":
        raise _mismatch(f"{what} comes encoded as {encoding[:20]}, which nobody asked for")
    whole = (start, end) == (0, size)
    if whole and status != 200:
        raise _mismatch(f"{what}: HTTP {status} where the whole file was asked for")
    if not whole and status == 416:
        raise _mismatch(f"{what}: {size} bytes were promised, the server has fewer")
    if not whole and status != 206:
        raise _mismatch(f"{what}: the server ignores which part of the file was asked for")
    length = headers.get("Content-Length")
    if length is not None and length.strip() != str(end - start):
        raise _mismatch(f"{what}: {end - start} bytes were promised, {length[:20]} are sent")
    if whole:
        return
    told = _RANGE.match(headers.get("Content-Range", "").strip())
    if not told or (int(told[1]), int(told[2])) != (start, end - 1):
        raise _mismatch(f"{what}: the server sends another part than was asked for")
    if told[3] not in {"*", str(size)}:
        raise _mismatch(f"{what}: {size} bytes were promised, the server has {told[3]}")


def check_expected(headers: Mapping[str, str], expected: Mapping[str, str], what: str) -> None:
    """Raise SourceError when a server names another version of a file than was listed."""
    for name, value in expected.items():
        if headers.get(name, value) != value:
            raise _mismatch(f"{what} has changed since it was listed")


def _mismatch(message: str) -> SourceError:
    return SourceError(FetchReason.DIGEST_MISMATCH, message)
