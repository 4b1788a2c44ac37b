"""`stoker chat SERVICE`: a conversation through a port-forward to a frontend pod.

The way is the one of clients: the frontend holds the request where no replica runs, and wakes one.
Ctrl-C ends an answer, and the end of the input the conversation. No key is sent: the frontend asks
for none, and who may open the port may talk to it.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import aiohttp
import typer
from rich.console import Console

from stoker.clock import SystemClock
from stoker.cluster.client import Client, connect_as_user
from stoker.cluster.forward import Forward, forwarded
from stoker.cluster.kinds import POD
from stoker.commands import podpages, running, talk, waits
from stoker.commands.exits import Exit
from stoker.commands.following import Progress, screen_of
from stoker.commands.inputs import InputError
from stoker.commands.reach import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Service,
    Where,
    check_names,
    finish,
    print_data,
)
from stoker.commands.running import SERVICES, CommandError, Subject, told
from stoker.commands.statuses import mapping, whole
from stoker.commands.talk import Asking, Reply
from stoker.errors import StokerError
from stoker.model.observed import Key
from stoker.naming import Component
from stoker.render.frontend_input import FrontendPorts

_LOOK_S: Final = 2.0
_NEW: Final = "/new"
FORWARDS: Final = Subject(
    POD,
    "pods",
    "Talking to a service takes the rights `get` on inferenceservices.stoker.dev, `list` on pods, "
    "and `get` and `create` on pods/portforward",
)


def chat(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTION",
            help="Ask this and end. A pipe's standard input is a question, too.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", help="What the model is told before all else.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Default: the first name that it answers to.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Longest answer.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=2, help="0: always the likeliest.")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Go on with the words, for models without a chat template."),
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Talk to SERVICE; at zero a question wakes it. Ctrl-C ends an answer, Ctrl-D the talk."""

    def answer() -> Exit:
        check_names(service, namespace)
        asked = question
        if asked is None and not sys.stdin.isatty():
            asked = sys.stdin.read().strip()
        if asked == "":
            raise InputError("the question is empty: write one, or pipe it in")
        if asked is None and output is not Output.TABLE:
            raise InputError(f"-o {output}: goes with a QUESTION")
        asking = Asking(model or "", max_tokens, temperature, raw)
        where = Where(namespace, kubeconfig, context)
        with asyncio.Runner() as runner:
            client, default = runner.run(connect_as_user(where.kubeconfig, where.context))
            try:
                talking = Talk(client, Key(namespace or default, service), asking, system)
                if asked is not None:
                    return runner.run(talking.once(asked, output))
                return _converse(runner, talking)
            finally:
                runner.run(client.close())

    finish(answer)


def _converse(runner: asyncio.Runner, talking: "Talk") -> Exit:
    """Question by question, as they are typed."""
    runner.run(talking.find())
    typer.echo(
        f"{talking.asking.model}: ask. Ctrl-C ends an answer, Ctrl-D the talk, {_NEW} forgets it."
    )
    while True:
        try:
            asked = input("> ").strip()
        except EOFError:
            typer.echo()
            return Exit.DONE
        except KeyboardInterrupt:
            typer.echo("\n(Ctrl-D ends the talk)")
            continue
        if asked == _NEW:
            talking.forget()
        elif asked:
            try:
                runner.run(talking.say(asked))
            except KeyboardInterrupt:
                typer.echo("\n(cut)")
            except CommandError as error:
                typer.echo(str(error), err=True)


@dataclass(slots=True)
class Talk:
    """A conversation and the way to the one who answers."""

    client: Client
    key: Key
    asking: Asking
    system: str | None
    messages: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.messages = []
        if self.system is not None:
            self.messages.append({"role": "system", "content": self.system})

    async def once(self, question: str, output: Output) -> Exit:
        """One question; the answer alone is on the standard output."""
        await self.find()
        begun = time.monotonic()
        reply = Reply()
        first: float | None = None
        async for piece in self._answer(question, reply):
            first = first or time.monotonic() - begun
            if output is Output.TABLE:
                _write(piece)
        if output is Output.TABLE:
            _write("\n")
        else:
            print_data(
                {
                    "model": self.asking.model,
                    "answer": reply.text,
                    "finishReason": reply.finish,
                    "usage": json.loads(json.dumps(reply.usage)),
                    "firstTokenSeconds": first,
                    "seconds": time.monotonic() - begun,
                },
                output,
            )
        return Exit.DONE

    async def say(self, question: str) -> None:
        """The next question; what was said of a cut answer is remembered."""
        reply = Reply()
        try:
            async for piece in self._answer(question, reply):
                _write(piece)
            _write("\n")
        finally:
            if reply.pieces:
                self.messages += [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": reply.text},
                ]

    async def find(self) -> None:
        """Learn the model's name from the address."""
        await running.read_service(self.client, self.key)
        if not self.asking.model:
            async with self._way() as (session, forward):
                name = await talk.model_of(session, forward.root)
            self.asking = Asking(
                name, self.asking.max_tokens, self.asking.temperature, self.asking.raw
            )

    async def _answer(self, question: str, reply: Reply) -> AsyncIterator[str]:
        messages = [*self.messages, {"role": "user", "content": question}]
        waiting = asyncio.create_task(self._tell_waiting())
        try:
            async with self._way() as (session, forward):
                pieces = talk.answer(session, forward.root, self.asking, messages, reply)
                async for piece in pieces:
                    if not waiting.done():
                        await _end(waiting)
                    yield piece
        finally:
            await _end(waiting)

    @contextlib.asynccontextmanager
    async def _way(self) -> AsyncIterator[tuple[aiohttp.ClientSession, Forward]]:
        """A connection to a frontend pod; what breaks it is told."""
        pod = await self._frontend()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        port = FrontendPorts().api
        async with (
            forwarded(self.client, self.key.namespace, pod, port) as forward,
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        ):
            try:
                yield session, forward
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if forward.error is not None:
                    raise told(forward.error, Key(self.key.namespace, ""), FORWARDS) from error
                raise CommandError(
                    f"the connection to frontend pod {pod} broke "
                    f"({type(error).__name__}); ask again",
                    Exit.UNHEALTHY,
                ) from error

    async def _frontend(self) -> str:
        answering, there = await podpages.reachable(
            self.client, self.key, Component.FRONTEND, FORWARDS
        )
        if not answering:
            raise CommandError(
                f"no frontend pod of {self.key} answers ({there} there); `stoker why "
                f"{self.key.name} -n {self.key.namespace}` says why",
                Exit.UNHEALTHY,
            )
        return answering[0].name

    async def _tell_waiting(self) -> None:
        """Say what is waited for until the first piece comes, where no replica runs."""
        screen = screen_of(Console(stderr=True, highlight=False), SystemClock())
        with screen:
            while True:
                with contextlib.suppress(StokerError):
                    body = await self.client.get(
                        SERVICES.kind.path(self.key.namespace, self.key.name)
                    )
                    if whole(mapping(body.get("status")).get("readyReplicas")):
                        return
                    screen.tell(_waking(body))
                await asyncio.sleep(_LOOK_S)


def _waking(body: dict[str, Any]) -> Progress:
    found = waits.progress(body)
    line = f"no replica runs, the question waits and wakes one: {found.line}"
    return Progress(found.name, line, found.percent, found.mark)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
