"""One answer of a service, piece by piece: the request, the stream, and what an error says.

The address speaks OpenAI's dialect; a stream is server-sent events. Engines are not trusted with a
terminal: what is no text is left out.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from stoker.commands.exits import Exit
from stoker.commands.running import CommandError
from stoker.commands.statuses import mapping, mappings, text

Message = Mapping[str, str]
_DATA: Final = b"data:"
_DONE: Final = "[DONE]"
# A line of a stream is a few hundred bytes.
_LINE_BYTES: Final = 1 << 20
_ERROR_BYTES: Final = 2000


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked besides the messages."""

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    raw: bool = False  # a prompt to go on with, for models without a chat template

    def path(self) -> str:
        """Where it goes."""
        return "/v1/completions" if self.raw else "/v1/chat/completions"

    def body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The request."""
        found: dict[str, Any] = {
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.raw:
            found["prompt"] = "\n".join(each["content"] for each in messages)
        else:
            found["messages"] = list(messages)
        if self.max_tokens is not None:
            found["max_tokens"] = self.max_tokens
        if self.temperature is not None:
            found["temperature"] = self.temperature
        return found


@dataclass(slots=True)
class Reply:
    """What has come so far."""

    pieces: list[str] = field(default_factory=list)
    finish: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.pieces)


def readable(piece: str) -> str:
    """Without what steers a terminal; lines and tabs stay."""
    return "".join(each for each in piece if each.isprintable() or each in "\n\t")


async def model_of(session: aiohttp.ClientSession, root: str) -> str:
    """The name that the address answers to; asking wakes nothing."""
    async with session.get(f"{root}/v1/models") as response:
        if response.status != 200:
            raise failure(response.status, await response.content.read(_ERROR_BYTES))
        document = await response.json(content_type=None)
    found = mappings(mapping(document).get("data"))
    name = text(found[0].get("id")) if found else None
    if name is None:
        raise CommandError("the address names no model; pass --model", Exit.UNHEALTHY)
    return name


async def answer(
    session: aiohttp.ClientSession,
    root: str,
    asking: Asking,
    messages: Sequence[Message],
    reply: Reply,
) -> AsyncIterator[str]:
    """Pieces of the answer as they come, kept in `reply`; `CommandError` says what went wrong."""
    body = asking.body(messages)
    async with session.post(f"{root}{asking.path()}", json=body) as response:
        if response.status != 200:
            raise failure(response.status, await response.content.read(_ERROR_BYTES))
        async for event in _events(response.content):
            for choice in mappings(event.get("choices")):
                reply.finish = text(choice.get("finish_reason")) or reply.finish
                said = choice.get("text") or mapping(choice.get("delta")).get("content")
                if isinstance(said, str) and said:
                    piece = readable(said)
                    reply.pieces.append(piece)
                    yield piece
            reply.usage = mapping(event.get("usage")) or reply.usage
            if "error" in event:
                said = text(mapping(event["error"]).get("message")) or "no reason is told"
                raise CommandError(f"the engine broke off: {said}", Exit.UNHEALTHY)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[Mapping[str, Any]]:
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES:
            raise CommandError("the answer is no stream of events", Exit.UNHEALTHY)
        for line in lines:
            if not line.startswith(_DATA):
                continue
            said = line[len(_DATA) :].strip().decode("utf-8", "replace")
            if said == _DONE:
                return
            try:
                yield mapping(json.loads(said))
            except ValueError:
                continue


def failure(status: int, raw: bytes) -> CommandError:
    """What the address refused, and how a script should take it."""
    try:
        document = mapping(json.loads(raw))
    except ValueError:
        document = {}
    error = mapping(document.get("error"))
    said = text(error.get("message")) or text(document.get("message"))
    words = " ".join((said or raw.decode("utf-8", "replace") or "no reason is told").split())
    if "chat template" in words:
        words += "; the model has none, so pass --raw to have it go on with your words"
    kind = Exit.UNHEALTHY if status >= 500 or status == 429 else Exit.REFUSED
    return CommandError(f"HTTP {status}: {words}", kind)
