"""How far a cache's job is: its own page, read of our own pods alone."""

import asyncio
from collections.abc import Iterable
from typing import Final

from stoker.model.observed import ObservedPod
from stoker.render.addresses import pod_url
from stoker.telemetry.parse import SampleError
from stoker.telemetry.scrape import Scraper
from stoker_worker.cachecontract import FETCH_PORT, PATH_PROGRESS, Progress

# The page has a few hundred bytes; nobody is believed who sends much more.
_LIMIT: Final = 16_384
_WORDS: Final = 1024


async def read_progress(scraper: Scraper, pods: Iterable[ObservedPod]) -> dict[str, Progress]:
    """Pages of running pods by uid.

    One that does not answer, or speaks for another pod, is left out: an address is given to the
    next pod soon after one is gone.
    """
    running = [pod for pod in pods if pod.phase == "Running" and not pod.deleting]
    pages = await asyncio.gather(*(_read(scraper, pod) for pod in running))
    return {pod.uid: page for pod, page in zip(running, pages, strict=True) if page is not None}


async def _read(scraper: Scraper, pod: ObservedPod) -> Progress | None:
    root = pod_url(pod, FETCH_PORT)
    if root is None:
        return None
    try:
        text = await scraper.get(f"{root}{PATH_PROGRESS}")
    except SampleError:
        return None
    page = Progress.parse(text) if len(text) <= _LIMIT else None
    return page if page is not None and page.uid == pod.uid and _is_sane(page) else None


def _is_sane(page: Progress) -> bool:
    """Whether the fields have the types that they are said to have."""
    numbers = (page.bytes, page.done, page.files, page.files_done, page.speed)
    times = [each for each in (page.remaining_s, page.until) if each is not None]
    texts = (page.task, page.state, page.reason, page.message)
    return (
        all(isinstance(each, int | float) and 0 <= each < 2**60 for each in numbers)
        and all(isinstance(each, int | float) and abs(each) < 2**40 for each in times)
        and all(isinstance(each, str) and len(each) <= _WORDS for each in texts)
    )
