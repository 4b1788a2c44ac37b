"""What Stoker ships to be seen by, in a real Prometheus that scrapes the cluster as it runs.

Prometheus has recorded the whole run. So each question of each dashboard is put to all of it: the
burst of `test_30`, the hung engine of `test_50`, the nodes of `test_85` and the caches of `test_87`
are in there, and what is missing, the services below add: one with everything that an engine can
tell of (targets, speculation, repeated prompts, known peaks and a price), one that waits for a
node, and one that no request reaches in time. What only accelerators tell is played, and only that:
`e2e.prometheus.gpu`.
"""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from charts.observability.panels import Query, every_query
from e2e.caches import KIND
from e2e.cluster.settings import NODE, STORAGE_CLASS, state
from e2e.cluster.volumes import free_volume
from e2e.models import PROMPTS, TINY
from e2e.prometheus import SCRAPE_SECONDS, gpu
from e2e.stack import KNOWN_CPU, MODEL_CLAIM, MONITORING_NAMESPACE, Stack, example
from e2e.test_10_answers import call
from e2e.test_75_techniques import repeating
from e2e.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.prometheus import Prometheus

NAMESPACE = "demo"
SEEN, WAITING, EMPTY = "seen", "waiting", "empty"
START_SECONDS = 300
SECONDS = 150
CAPACITY = "karpenter.sh/capacity-type"
TEXTS = tuple(repeating(prompt.text) for prompt in PROMPTS)


@pytest.fixture(scope="module")
def seen(stack: Stack, prometheus: Prometheus) -> Iterator[Prometheus]:
    """Prometheus, while a service of which everything can be told has traffic."""
    stack.apply(
        example(
            SEEN,
            NAMESPACE,
            scaling=None,
            replicas=1,
            accelerator={"types": [KNOWN_CPU]},
            engine={"args": {"max-num-seqs": "4"}},
            optimization={
                "speculative": {"method": "ngram", "tokens": 4},
                "prefixCaching": "on",
                "targets": {"ttft": "20s", "itl": "2s"},
            },
            cost={"publicPrice": {"input": "0.15", "output": "0.60"}},
        )
    )
    stack.wait_ready_engines(SEEN, NAMESPACE, 1, seconds=START_SECONDS)
    (pod,) = stack.engine_pods(SEEN, NAMESPACE)
    image = stack.cluster.images["engine-base"]
    stack.apply(gpu.objects(image, NAMESPACE, SEEN, pod["metadata"]["name"]))
    address = stack.address(SEEN, NAMESPACE)
    with (
        kept_on_the_node(stack),
        waiting(stack),
        spot(stack),
        Traffic(address, SEEN, streams=2, unary=2, prompts=TEXTS, stream_tokens=60),
    ):
        yield prometheus
    stack.kubectl("delete", "infer", SEEN, EMPTY, "-n", NAMESPACE, "--ignore-not-found")
    stack.kubectl("delete", "pod", gpu.NAME, "-n", MONITORING_NAMESPACE)


@contextmanager
def kept_on_the_node(stack: Stack) -> Iterator[None]:
    """A cache that is kept on every node, of which there is one, filled from the models' claim."""
    folder = state() / "seen-cache"
    folder.mkdir(exist_ok=True)
    kept = {"perNode": {"storageClassName": STORAGE_CLASS}}
    stack.apply(free_volume(SEEN, folder, "ReadWriteMany", size="10Gi"))
    stack.apply(
        {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "ModelCache",
            "metadata": {"name": SEEN, "namespace": NAMESPACE},
            "spec": {"model": {"uri": f"pvc://{MODEL_CLAIM}/{TINY.name}"}, "storage": kept},
        }
    )
    yield
    stack.kubectl("delete", KIND, SEEN, "-n", NAMESPACE, "--wait=true")
    stack.kubectl("delete", "persistentvolume", SEEN, "--wait=false")
    shutil.rmtree(folder)


@contextmanager
def waiting(stack: Stack) -> Iterator[None]:
    """A replica that no node can take; its model was looked at before, on a node that there is."""
    stack.apply(example(WAITING, NAMESPACE, scaling=None, replicas=0))
    stack.wait_condition(WAITING, NAMESPACE, "Planned", status="True")
    nowhere = {"nodeSelector": {"stoker.dev/seen": "nowhere"}}
    stack.apply(example(WAITING, NAMESPACE, scaling=None, replicas=1, template=nowhere))
    yield
    stack.kubectl("delete", "infer", WAITING, "-n", NAMESPACE, "--wait=true")


@contextmanager
def spot(stack: Stack) -> Iterator[None]:
    """Replicas are seen on demand for a while; from then on, the node says that it is spot."""
    time.sleep(3 * SCRAPE_SECONDS)
    stack.kubectl("label", "node", NODE, f"{CAPACITY}=spot")
    yield
    stack.kubectl("label", "node", NODE, f"{CAPACITY}-")


def test_everything_that_the_chart_selects_is_scraped(stack: Stack, seen: Prometheus) -> None:
    """Operator, engines, workers, pickers and Envoy, through the NetworkPolicies."""
    pods = stack.list("pods", NAMESPACE, f"stoker.dev/service={SEEN}")
    wanted = {pod["metadata"]["name"] for pod in pods}
    assert len(wanted) == 2

    def answering() -> set[str]:
        return {each["labels"].get("pod", "") for each in seen.targets() if each["health"] == "up"}

    stack.wait_for(lambda: wanted <= answering(), "engine and frontend to be scraped", SECONDS)
    down = [each for each in seen.targets() if each["health"] == "down"]
    alive = [each for each in down if each["labels"].get("pod") in wanted]
    assert not alive, [(each["scrapeUrl"], each["lastError"]) for each in alive]


def answered(prometheus: Prometheus, query: Query) -> bool:
    """Whether a question has had an answer at any time of the run."""
    expression = query.bound()
    if query.purpose == "variable":
        return bool(prometheus.ask(f"label/{query.label}/values", **{"match[]": expression}))
    # Not a number is what a quantile of nothing is, and no picture shows it.
    return any(
        value not in {"NaN", "+Inf", "-Inf"}
        for series in prometheus.over(expression)
        for _, value in series["values"]
    )


@pytest.mark.timeout(START_SECONDS + SECONDS + 120)
def test_every_panel_has_data(seen: Prometheus) -> None:
    missing = list(every_query())
    assert len(missing) > 100
    deadline = time.monotonic() + SECONDS
    while missing and time.monotonic() < deadline:
        missing = [query for query in missing if not answered(seen, query)]
        if missing:
            time.sleep(5)
    told = [
        f"{query.dashboard} / {query.panel} {query.letter} ({query.scenario.value}): "
        f"{query.expression}"
        for query in missing
    ]
    assert not missing, "no data in the whole run for:\n" + "\n".join(told)


@pytest.mark.timeout(300)
def test_a_request_that_no_replica_takes_fires_an_alert(stack: Stack, seen: Prometheus) -> None:
    stack.apply(example(EMPTY, NAMESPACE, scaling=None, replicas=0, frontend={"holdTimeout": "2s"}))
    stack.wait_for(
        lambda: stack.get("service", EMPTY, NAMESPACE) is not None, "the address", SECONDS
    )
    address = stack.address(EMPTY, NAMESPACE)
    body = {"model": EMPTY, "prompt": "Anybody?", "max_tokens": 1}

    def refused() -> bool:
        try:
            return call(address, "/completions", body)[0] == 503
        except OSError:
            return False  # no frontend yet

    def fired() -> bool:
        return refused() and bool(
            seen.fired("StokerHeldRequestsTimeOut", namespace=NAMESPACE, service=EMPTY)
        )

    stack.wait_for(fired, "the alert of requests that gave up waiting", SECONDS)
