"""Each alert has a page that can be followed, and says nothing that is not there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.observability import names
from charts.observability.alerts import alerts
from charts.observability.rulefile import RUNBOOKS, Alert
from stoker.api.crd import CACHE, SERVICE, schema_of
from stoker.naming import Component

ROOT = Path(__file__).parents[3]
BOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(BOOKS.glob("Stoker*.md"))
KINDS = [schema_of(SERVICE), schema_of(CACHE)]
HEADINGS = ["Meaning", "Impact", "Diagnosis", "What to do"]
VALUES = yaml.safe_load((ROOT / "charts/stoker/values.yaml").read_text())
FIELD = re.compile(
    r"`((?:scaling|frontend|optimization|model|context|engine|accelerator|template|status)"
    r"(?:\.\w+)+)"
)
VALUE = re.compile(r"`((?:serviceMonitor|podMonitor|prometheusRules|caches|resources)(?:\.\w+)*)")


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert [page.stem for page in PAGES] == sorted(alert.name for alert in alerts())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_to_do(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^# (.+)$", text, re.MULTILINE)[0] == page.stem
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    for part in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        assert part.strip()
    assert "kubectl" in text or "stoker:" in text or "stoker_" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_what_is_there(page: Path) -> None:
    text = page.read_text()
    recorded = {name for metric in names.VOCABULARY for name in (metric.name, *metric.series)}
    assert set(re.findall(r"stoker:[a-z0-9_:]+", text)) <= recorded
    for field in FIELD.findall(text):
        assert any(field_of(schema, field) for schema in KINDS), field
    for value in VALUE.findall(text):
        assert value_of(value.split(".")), value
    components = set(re.findall(r"stoker\.dev/component=(\w+)", text))
    assert components <= {component.value for component in Component}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_says_what_and_where_to_read_on(alert: Alert) -> None:
    told = alert.manifest()
    assert re.fullmatch(r"Stoker[A-Z][A-Za-z]+", alert.name)
    assert told["labels"]["severity"] in {"critical", "warning", "info"}
    assert told["annotations"]["runbook_url"] == f"{RUNBOOKS}/{alert.name}.md"
    assert not alert.summary.endswith(".")
    assert alert.description.endswith(".")
    row = f"| [{alert.name}](runbooks/{alert.name}.md) | {alert.severity} |"
    assert row in (ROOT / "docs/alerts.md").read_text()


def test_the_page_of_alerts_has_the_vocabulary() -> None:
    page = (ROOT / "docs/alerts.md").read_text()
    for metric in names.VOCABULARY:
        assert f"| `{metric.name}`" in page
        assert metric.help in page


def field_of(definition: dict[str, Any], path: str) -> bool:
    """Whether the schema has a field; below a list it is the entries'."""
    schema = definition["properties"]
    steps = path.split(".")
    at = schema if steps[0] == "status" else schema["spec"]["properties"]
    for step in steps:
        if step not in at:
            return False
        node = at[step]
        node = node.get("items", node)
        if "additionalProperties" in node:
            return True
        at = node.get("properties", {})
    return True


def value_of(steps: list[str]) -> bool:
    at: Any = VALUES
    for step in steps:
        if not isinstance(at, dict) or step not in at:
            return False
        at = at[step]
    return True
