"""What others are told: numbers where they are known, words where they are not."""

from __future__ import annotations

import pytest

from stoker.external.figures import (
    AskedWrongly,
    Figures,
    Metric,
    NoFigures,
    Question,
    figures_of,
    from_json,
    question_of,
    service_of,
    to_json,
)
from stoker.model.load import EngineSample, FrontendSample, Load


def load(*, held: int = 0, active: int = 0, waiting: int = 0, running: int = 0) -> Load:
    return Load(
        100.0,
        (FrontendSample("front", held, active, 1.0),),
        (EngineSample("engine", running, waiting, None),),
    )


@pytest.mark.parametrize(
    ("sample", "depth", "running", "progress"),
    [
        (load(), 0, 0, 0),
        (load(held=2, active=2), 2, 0, 2),
        (load(held=1, active=4, waiting=1, running=2), 2, 2, 4),
        # What came straight to an engine no frontend counts.
        (load(waiting=3, running=5), 3, 5, 8),
        # What the frontend has just sent no engine counts yet.
        (load(active=7), 0, 0, 7),
    ],
)
def test_a_whole_sample_is_three_numbers(
    sample: Load, depth: int, running: int, progress: int
) -> None:
    figures = figures_of(sample, 101.0)
    assert figures.value(Metric.QUEUE_DEPTH) == depth
    assert figures.value(Metric.RUNNING) == running
    assert figures.value(Metric.IN_PROGRESS) == progress
    assert figures.is_active() == (progress > 0)
    assert from_json(to_json(figures)) == figures


@pytest.mark.parametrize(
    ("sample", "time", "words"),
    [
        (None, 0.0, "no metrics yet"),
        (load(running=1), 116.0, "older than 15 s"),
        (Load(100.0, (), ()), 100.0, "no frontend"),
        (Load(100.0, (), (), ("engine pod a: HTTP 500",)), 100.0, "engine pod a: HTTP 500"),
    ],
)
def test_what_is_not_known_is_no_zero(sample: Load | None, time: float, words: str) -> None:
    figures = figures_of(sample, time)
    for metric in Metric:
        with pytest.raises(NoFigures, match=words):
            figures.value(metric)
    with pytest.raises(NoFigures, match=words):
        figures.is_active()


def test_one_request_that_is_seen_is_enough_to_be_active() -> None:
    sample = Load(100.0, (FrontendSample("a", 1, 1, 1.0),), (), ("frontend pod b: HTTP 500",))
    figures = figures_of(sample, 101.0)
    assert figures.is_active()
    with pytest.raises(NoFigures):
        figures.value(Metric.QUEUE_DEPTH)


@pytest.mark.parametrize(
    "document", [None, [], {"depth": 1}, {"running": -1}, {"running": "1"}, {"in_progress": None}]
)
def test_what_another_version_says_is_not_believed(document: object) -> None:
    with pytest.raises(NoFigures, match="leader"):
        from_json(document)


def test_a_trigger_is_read() -> None:
    metadata = {"scalerAddress": "stoker-keda:8081", "service": "chat", "target": "8"}
    assert question_of(metadata) == Question("chat", Metric.QUEUE_DEPTH, 8.0)
    metadata |= {"metric": "inProgress", "target": "0.5", "enableTLS": "true"}
    assert question_of(metadata) == Question("chat", Metric.IN_PROGRESS, 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"service": ""}, r"metadata\.service: is missing; write the name"),
        ({"metric": "load"}, r"metadata\.metric: 'load' is unknown; write one of: queueDepth"),
        ({"metrics": "running"}, r"metadata\.metrics: there is no such field; write metric"),
        ({"target": ""}, r"metadata\.target: is missing; write how many"),
        ({"target": "many"}, "'many' is no number"),
        ({"target": "0"}, "not above 0"),
        ({"target": "-1"}, "not above 0"),
        ({"target": "nan"}, "not above 0"),
        ({"target": "inf"}, "not above 0"),
    ],
)
def test_a_wrong_trigger_is_told_what_to_write(change: dict[str, str], words: str) -> None:
    with pytest.raises(AskedWrongly, match=words):
        question_of({"service": "chat", "target": "8", **change})


@pytest.mark.parametrize("selector", ["service=chat", "service==chat", " service = chat "])
def test_a_selector_names_a_service(selector: str) -> None:
    assert service_of(selector) == "chat"


@pytest.mark.parametrize(
    "selector", ["", "app=chat", "service", "service=", "service in (a,b)", "service=a,service=b"]
)
def test_another_selector_is_told_what_to_write(selector: str) -> None:
    with pytest.raises(AskedWrongly, match=r"matchLabels: \{service: NAME\}"):
        service_of(selector)


def test_nothing_is_assumed_of_figures_that_say_nothing() -> None:
    assert not Figures().is_active()
