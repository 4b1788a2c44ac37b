"""Where each kind of pod tells its load, and what became of asking it.

An engine pod's worker has one small page with the lines that matter and the pod's name. Workers of
an older operator have none: they answer 404, and then the engine's own page is read for as long as
that pod lives. It is hundreds of kilobytes, and names no pod.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stoker.model.load import EngineSample, FrontendSample
from stoker.model.observed import ObservedPod
from stoker.render.addresses import engine_load_url, engine_metrics_url, pod_url
from stoker.render.frontend_input import PATH_LOAD, FrontendPorts
from stoker.telemetry.parse import MetricAbsentError, SampleError, engine_sample, frontend_sample
from stoker.telemetry.scrape import HttpError, Scraper

_NOT_FOUND: Final = 404
_UNAVAILABLE: Final = 503
# Pods whose workers have no page; beyond this many they are found out anew.
_OLD_LIMIT: Final = 20_000
_ADVICE: Final = (
    "Stoker reads the names that vLLM writes by default: take an engine version that Stoker knows "
    "(docs/scaling.md), and no engine flag that hides metrics"
)


@dataclass(frozen=True, slots=True)
class Lack:
    """An engine answers and does not write a needed series."""

    pod: str
    what: str

    def __str__(self) -> str:
        return f"engine pod {self.pod}: {self.what}"

    @staticmethod
    def told(lacks: Iterable["Lack"]) -> tuple[str, ...]:
        """In words, pods that lack the same in one sentence."""
        pods: dict[str, list[str]] = {}
        for lack in lacks:
            pods.setdefault(lack.what, []).append(lack.pod)
        return tuple(
            f"engine pod {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {what}. "
            f"{_ADVICE}"
            for what, names in pods.items()
        )


class Pages:
    """Asks pods for their load; a problem is an answer in words."""

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper
        self._old: set[str] = set()  # uids: a pod's worker stays the same for its life

    async def frontend(self, pod: ObservedPod) -> FrontendSample | str | None:
        """What a frontend has in progress; None where it may be silent and is."""
        root = pod_url(pod, FrontendPorts().ops)
        try:
            text = await self._scraper.get(f"{root}{PATH_LOAD}")
            return frontend_sample(pod.name, text, pod.uid)
        except SampleError as error:
            must_answer = pod.ready and not pod.deleting
            return f"frontend pod {pod.name}: {error}" if must_answer else None

    async def engine(
        self, pod: ObservedPod, *, histograms: bool = False
    ) -> EngineSample | Lack | str:
        """What an engine has in progress."""
        small, whole = engine_load_url(pod), engine_metrics_url(pod)
        if small is None or whole is None:
            return f"engine pod {pod.name}: has no address yet"
        try:
            text = await self._engine_page(pod, small, whole)
            return engine_sample(pod.name, text, pod.uid, histograms=histograms)
        except MetricAbsentError as error:
            return Lack(pod.name, str(error))
        except SampleError as error:
            return f"engine pod {pod.name}: {error}"

    async def _engine_page(self, pod: ObservedPod, small: str, whole: str) -> str:
        if pod.uid not in self._old:
            try:
                return await self._scraper.get(small)
            except HttpError as error:
                if error.status == _UNAVAILABLE:
                    raise SampleError("its engine does not answer its worker") from error
                if error.status != _NOT_FOUND:
                    raise
            if len(self._old) >= _OLD_LIMIT:
                self._old.clear()
            self._old.add(pod.uid)
        return await self._scraper.get(whole)
