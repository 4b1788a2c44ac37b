"""What holds for every page: its place, its marks, and that what is generated is up to date."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from docs.tools import blocks, site, situations
from docs.tools.__main__ import generated
from stoker.catalog import engines
from stoker.model import reasons
from stoker_worker.cachecontract import FetchReason
from stoker_worker.contract import FactsReason, TerminationReason

ROOT = site.ROOT
PAGES = site.pages(ROOT)
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```yaml\n(.*?)```", re.DOTALL)
WORD = re.compile(r"`([A-Z]\w+)`")
# Words on the page of troubleshooting that are no reasons.
OTHER_WORDS = {
    "False", "Unknown", "Pending", "Ready", "Progressing", "Schedulable", "ScalingActive",
    "ModelReady", "NodesUnsuitable", "BetterPlanAvailable",
}  # fmt: skip


def test_every_page_is_in_the_navigation_once() -> None:
    placed = Counter(site.placed(site.navigation(ROOT)))
    missing = sorted(set(PAGES) - set(placed))
    assert missing == [], (
        f"{', '.join(missing)}: a page has to be in the navigation, or nobody finds it: "
        f"add it to nav in {site.CONFIGURATION}"
    )
    assert [page for page, times in placed.items() if times > 1] == []


def test_patterns_expand_and_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    for name in ("README.md", "docs/a.md", "docs/runbooks/one.md", "docs/runbooks/two.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# A page\n")
    (tmp_path / site.CONFIGURATION).write_text(
        "nav: [{Home: README.md}, {Runbooks: [docs/alerts.md, 'docs/runbooks/*.md']}, "
        "{Reference: [docs/none.md]}]"
    )
    assert site.navigation(tmp_path) == [
        {"Home": "README.md"},
        {"Runbooks": ["docs/runbooks/one.md", "docs/runbooks/two.md"]},
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    blocks.blocks_of(page, (ROOT / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_examples_on_pages_are_the_files(page: str) -> None:
    for name, text in EXAMPLE.findall((ROOT / page).read_text()):
        assert text == (ROOT / name).read_text(), f"{page} shows another {name}"


def test_generated_pages_are_up_to_date() -> None:
    stale = [page for page, text in generated(ROOT).items() if (ROOT / page).read_text() != text]
    assert stale == [], "run `make generate`, and look at what changed"


def test_troubleshooting_knows_every_reason_and_no_other() -> None:
    catalogue = (Path(engines.__file__).parent / "engines.yaml").read_text()
    code = {
        value
        for home in (reasons, TerminationReason, FactsReason, FetchReason)
        for name, value in vars(home).items()
        if name.isupper() and isinstance(value, str)
    }
    code |= set(re.findall(r"reason: ([A-Z]\w+)", catalogue)) | {"NeedsPlugin"}
    page = set(WORD.findall((ROOT / "docs/troubleshooting.md").read_text()))
    missing = sorted(code - page)
    assert missing == [], f"docs/troubleshooting.md has to say what to do about {missing}"
    unknown = sorted(page - code - OTHER_WORDS)
    assert unknown == [], f"docs/troubleshooting.md explains what nobody writes: {unknown}"


def test_every_situation_is_on_the_page_and_is_what_it_says() -> None:
    files = sorted(path.stem for path in (ROOT / situations.FOLDER).glob("*.yaml"))
    assert files == sorted(situations.ORDER)
    plans = {name: situations.planned(ROOT, name) for name in situations.ORDER}
    assert all(plan["planned"] for plan in plans.values())
    run = {name: plan["configuration"] for name, plan in plans.items()}
    expected = {name: plan["expected"] for name, plan in plans.items()}
    exact = run["precision-first"]
    assert (exact["quantization"], exact["kvDtype"]) == ("none", "auto")
    assert run["scarce-gpu"]["tensor"] == 1
    assert run["long-context"]["maxModelLen"] == max(each["maxModelLen"] for each in run.values())
    fastest = min(each["itlS"]["typical"] for each in expected.values())
    assert expected["lowest-latency"]["itlS"]["typical"] == fastest
    most = max(each["outputTokensPerS"]["typical"] for each in expected.values())
    assert expected["highest-throughput"]["outputTokensPerS"]["typical"] == most
