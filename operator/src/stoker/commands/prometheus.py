"""A Prometheus that the user names: its address on the command line, and one question at a moment.

An address may hold a name and a password (`http://USER:PASSWORD@HOST:PORT`): they are sent to that
host, and no message shows them. What answers there may be anything, a login page too; whatever is
no answer of Prometheus' API ends the command with a sentence, and never with a zero.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlsplit

import aiohttp
import typer

from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.running import CommandError
from stoker.commands.statuses import mapping, mappings, number, text

TIMEOUT_S: Final = 10.0
# The first one that takes `keep_firing_for`, which the chart's rules have.
OLDEST: Final = (2, 42)
# A thousand services have some ten series each, of a few hundred bytes.
_LIMIT: Final = 32 * 1024 * 1024
_HIDDEN: Final = "***"
_SECRET: Final = re.compile(r"(?<=://).*@|^(?!\w+://).*@")
_REFUSED: Final = {401, 403}

Option = Annotated[
    str | None,
    typer.Option(
        "--prometheus",
        metavar="URL",
        help="Ask a Prometheus that has the chart's rules for what it recorded: "
        "http://127.0.0.1:9090.",
    ),
]
Sample = tuple[Mapping[str, str], float]


def shown(address: str) -> str:
    """The address without what may be a password, which may hold any sign itself."""
    return _SECRET.sub(f"{_HIDDEN}@", address)


def check(address: str | None) -> None:
    """`InputError` where it is no address."""
    if address is None:
        return
    try:
        parts = urlsplit(address)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InputError(
            f"--prometheus {shown(address)}: write http://HOST:PORT, or with a password "
            "http://USER:PASSWORD@HOST:PORT (its special signs as %40 and the like)"
        )


async def ask(address: str, query: str, instead: str) -> list[Sample]:
    """The samples of an instant query; `instead` says what happens without the option.

    Raises
    ------
    CommandError
        Nobody answers, it is no Prometheus, or it does not take the query or the credentials.
    """
    try:
        return samples_of(await _get(address, "query", {"query": query}))
    except _RefusedError as error:
        raise CommandError(
            f"--prometheus {shown(address)}: {error}; {instead}", Exit.FORBIDDEN
        ) from error
    except ValueError as error:
        fail(address, str(error), instead)


async def too_old(address: str) -> str:
    """Why the chart's rules cannot be there, by its version; empty where that is not why."""
    try:
        answer = mapping(await _get(address, "status/buildinfo", {}))
    except ValueError:
        return ""
    version = text(mapping(answer.get("data")).get("version")) or ""
    found = re.match(r"(\d+)\.(\d+)\.", version)
    if found is None or (int(found[1]), int(found[2])) >= OLDEST:
        return ""
    oldest = ".".join(map(str, OLDEST))
    return f"it is Prometheus {version[:40]}, and the chart's rules take {oldest} or newer"


def fail(address: str, said: str, instead: str) -> NoReturn:
    """End the command: this Prometheus is of no use."""
    raise CommandError(f"--prometheus {shown(address)}: {said}; {instead}", Exit.UNREACHABLE)


def samples_of(answer: object) -> list[Sample]:
    """Labels and values of an answer to an instant query; values that are no numbers are left out.

    Raises
    ------
    ValueError
        It is no such answer, or it says that the query failed.
    """
    document = mapping(answer)
    data = mapping(document.get("data"))
    if document.get("status") != "success":
        said = text(document.get("error"))
        raise ValueError(said or "the answer is not one of Prometheus' API")
    if data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
        raise ValueError("the answer has another form than that of Prometheus 2 and 3")
    found: list[Sample] = []
    for each in mappings(data["result"]):
        labels = {str(name): str(value) for name, value in mapping(each.get("metric")).items()}
        value = _value(each.get("value"))
        if value is not None:
            found.append((labels, value))
    return found


class _RefusedError(ValueError):
    """It does not take the credentials."""


async def _get(address: str, path: str, query: Mapping[str, str]) -> Any:  # noqa: ANN401 - as JSON has it
    """What its API answers; `ValueError` says why that is nothing."""
    url = f"{address.rstrip('/')}/api/v1/{path}"
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(TIMEOUT_S), trust_env=False
            ) as session,
            session.get(url, params=query) as response,
        ):
            status, raw = response.status, await _read(response.content)
    except TimeoutError as error:
        raise ValueError(f"no answer within {TIMEOUT_S:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ValueError(_words(error, address)) from error
    if status in _REFUSED:
        raise _RefusedError(
            f"HTTP {status}: it does not take the credentials, or wants some: write "
            "http://USER:PASSWORD@HOST:PORT"
        )
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        what = "a page of HTML" if raw.lstrip()[:1] == b"<" else "no answer of Prometheus' API"
        raise ValueError(
            f"HTTP {status} with {what}: the address has to be Prometheus' own, up to where "
            "/api/v1 begins"
        ) from error


async def _read(content: aiohttp.StreamReader) -> bytes:
    data = b""
    while chunk := await content.read(65_536):
        data += chunk
        if len(data) > _LIMIT:
            raise ValueError(f"the answer is larger than {_LIMIT >> 20} MiB")
    return data


def _words(error: Exception, address: str) -> str:
    """What went wrong; libraries may quote the address, which is not shown whole."""
    said = " ".join(str(error).split()) or type(error).__name__
    parts = urlsplit(address)
    for secret in (parts.netloc.rpartition("@")[0], parts.username, parts.password):
        if secret:
            said = said.replace(secret, _HIDDEN)
    return said


def _value(sample: object) -> float | None:
    if not isinstance(sample, list) or len(sample) != 2:
        return None
    try:
        return number(float(sample[1]))
    except (TypeError, ValueError):
        return None
