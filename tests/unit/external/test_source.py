"""Who answers, who is remembered, and what a standby does."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from stoker.errors import NotFound
from stoker.external.figures import NoFigures
from stoker.external.servers import ExternalServers
from stoker.external.source import ASKED_FOR_S, Interest, Source, Views
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.observed import Key
from stoker.settings import ExternalScalersSettings
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

KEY = Key("team", "chat")


@dataclass
class SetClock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


@dataclass
class Replica:
    """One process of the operator, as its source sees it."""

    leads: bool = True
    synced: bool = True
    known: bool = True
    leader: str = ""
    load: Load | None = None
    clock: SetClock = field(default_factory=SetClock)
    woken: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interest = Interest(self.clock)
        views = Views(
            synced=lambda: self.synced,
            exists=lambda _: self.known,
            leads=lambda: self.leads,
            leader=lambda: self.leader,
            latest=lambda _: self.load,
            wake=self.woken.append,
        )
        self.source = Source(self.clock, self.interest, views)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """What its other replicas may ask."""

        async def read(_path: str) -> Mapping[str, Any]:
            raise AssertionError

        settings = ExternalScalersSettings.model_validate({"keda": {"enabled": True}})
        application = web.Application()
        application.add_routes(ExternalServers(settings, self.source, read).routes())
        runner = web.AppRunner(application)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, LOOPBACK, port).start()
        try:
            yield f"{LOOPBACK}:{port}"
        finally:
            await runner.cleanup()
            await self.source.close()


def sample(time: float = 1000.0) -> Load:
    return Load(time, (FrontendSample("front", 2, 3, 9.0),), (EngineSample("engine", 1, 0, None),))


async def test_the_leader_answers_from_its_samples_and_remembers_who_was_asked_for() -> None:
    replica = Replica(load=sample())
    figures = await replica.source.figures(KEY)
    assert (figures.queue_depth, figures.running, figures.in_progress) == (2, 1, 3)
    assert replica.woken == [KEY]
    assert replica.interest.until(KEY) == replica.clock.now + ASKED_FOR_S
    await replica.source.figures(KEY)
    assert replica.woken == [KEY]  # the first question alone changes the pace
    replica.clock.now += ASKED_FOR_S
    assert replica.interest.until(KEY) is None


async def test_the_first_question_waits_for_the_first_sample() -> None:
    replica = Replica()
    asking = asyncio.create_task(replica.source.figures(KEY))
    await asyncio.sleep(0)
    replica.load = sample()
    replica.source.news(KEY)
    assert (await asking).queue_depth == 2


@pytest.mark.parametrize("leads", [True, False])
async def test_unknown_names_leave_nothing_behind(leads: bool) -> None:  # noqa: FBT001
    replica = Replica(leads=leads, known=False, leader="192.0.2.1:8080")
    with pytest.raises(NotFound, match="no InferenceService 'chat' in the namespace 'team'"):
        await replica.source.figures(KEY)
    assert replica.interest.until(KEY) is None
    assert replica.woken == []
    replica.synced = False  # then nobody knows whether it is unknown
    with pytest.raises(NoFigures, match="just started"):
        await replica.source.figures(KEY)


async def test_a_standby_asks_the_leader() -> None:
    leader = Replica(load=sample())
    async with leader.listening() as address:
        standby = Replica(leads=False, leader=address)
        assert await standby.source.figures(KEY) == await leader.source.figures(KEY)
        assert standby.interest.until(KEY) is None  # it samples nothing
        leader.known = False
        with pytest.raises(NoFigures, match="HTTP 404"):  # the two may see a change at two times
            await standby.source.figures(KEY)
    with pytest.raises(NoFigures, match="does not answer"):
        await standby.source.figures(KEY)
    await standby.source.close()


async def test_two_that_take_each_other_for_the_leader_end_it_there() -> None:
    circle = Replica(leads=False)
    async with circle.listening() as address:
        circle.leader = address  # the shortest circle
        with pytest.raises(NoFigures, match="HTTP 503"):
            await circle.source.figures(KEY)


async def test_without_a_leader_nobody_knows() -> None:
    with pytest.raises(NoFigures, match="no replica of the operator leads"):
        await Replica(leads=False).source.figures(KEY)


async def test_a_service_that_is_gone_is_forgotten() -> None:
    replica = Replica(load=sample())
    await replica.source.figures(KEY)
    replica.interest.forget(KEY)
    assert replica.interest.until(KEY) is None
