"""`stoker top` and `stoker cost` with --prometheus: a real Prometheus, and addresses of others."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner, Result

from e2e.cluster import programs
from stoker.cli import app
from stoker.commands import rates
from stoker.commands.exits import Exit
from tests.integration.operator.support import service, wait_for
from tests.support.controlplane import LOOPBACK, free_port
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(300)

RECORDED, BARE, PASSWORD = "recorded", "bare", "never-shown"
# What the rules record of a service, as a page that Prometheus scrapes.
PAGE = """\
stoker:requests:rate5m{namespace="{namespace}",service="chat",revision="a"} 1.5
stoker:requests:rate5m{namespace="{namespace}",service="chat",revision="b"} 0.5
stoker:queue:sum{namespace="{namespace}",service="chat"} 7
stoker:ttft_seconds:p95{namespace="{namespace}",service="chat"} 0.25
stoker:kv_cache_usage_ratio{namespace="{namespace}",service="chat",pod="x"} 0.75
stoker_service_price_dollars_per_hour{namespace="{namespace}",service="chat"} 2.5
stoker:price_dollars_per_hour{namespace="{namespace}",service="chat",capacity="spot"} 2.5
stoker:cost_dollars:increase1d{namespace="{namespace}",service="chat",share="serving"} 12
stoker:cost_per_request_dollars:mean1h{namespace="{namespace}",service="chat"} 0.004
"""


@dataclass(frozen=True)
class Site:
    """Where which address is, and the namespace whose service it knows."""

    prometheus: int
    others: int

    def address(self, name: str = "") -> str:
        if name:
            return f"http://me:{PASSWORD}@{LOOPBACK}:{self.others}/{name}"
        return f"http://me:{PASSWORD}@{LOOPBACK}:{self.prometheus}"


@pytest.fixture(scope="module")
def spaces(plane: ControlPlane) -> None:
    for name in (RECORDED, BARE):
        plane.namespace(f"prometheus-{name}")
        plane.apply(service("chat", f"prometheus-{name}", replicas=1))


def _others() -> web.Application:
    """What else may answer at an address."""

    async def page(_: web.Request) -> web.Response:
        text = PAGE.replace("{namespace}", f"prometheus-{RECORDED}")
        return web.Response(text=text, content_type="text/plain")

    async def html(_: web.Request) -> web.Response:
        return web.Response(text="<html><title>Sign in</title>", content_type="text/html")

    async def refused(_: web.Request) -> web.Response:
        return web.Response(status=401)

    async def old(request: web.Request) -> web.Response:
        data: dict[str, Any] = {"resultType": "vector", "result": []}
        if request.path.endswith("buildinfo"):
            data = {"version": "2.31.1"}
        return web.json_response({"status": "success", "data": data})

    application = web.Application()
    application.router.add_get("/metrics", page)
    for name, answer in (("html", html), ("refused", refused), ("old", old)):
        application.router.add_get(f"/{name}/{{path:.*}}", answer)
    return application


@pytest.fixture(scope="module")
def site(spaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Prometheus with one target, beside addresses that are none."""
    del spaces
    program = programs.ensure(["prometheus"])["prometheus"]
    folder = tmp_path_factory.mktemp("prometheus")
    found = Site(free_port(), free_port())
    target = {"targets": [f"{LOOPBACK}:{found.others}"]}
    job = {"job_name": "page", "honor_labels": True, "static_configs": [target]}
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [
        *("setpriv", "--pdeathsig", "KILL", str(program)),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{found.prometheus}",
    ]
    with (
        serving(_others(), found.others),
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,  # noqa: S603
    ):
        try:
            wait_for("a scrape", lambda: _has_scraped(found.prometheus))
            yield found
        finally:
            process.kill()


def _has_scraped(port: int) -> bool:
    url = f"http://{LOOPBACK}:{port}/api/v1/query?query=stoker_service_price_dollars_per_hour"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(json.loads(answer.read())["data"]["result"])
    except (urllib.error.URLError, OSError):
        return False


def run(plane: ControlPlane, command: str, where: str, address: str, *more: str) -> Result:
    words = [command, "chat", "-n", f"prometheus-{where}", "--prometheus", address, *more]
    words += ["--kubeconfig", str(plane.kubeconfig)]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert PASSWORD not in done.output
    return done


def test_top_shows_what_is_recorded(plane: ControlPlane, site: Site) -> None:
    found = run(plane, "top", RECORDED, site.address(), "-o", "json")
    assert found.exit_code == Exit.DONE, found.output
    answer = json.loads(found.stdout)
    (row,) = answer["services"]
    assert (row["requestsPerSecond"], row["queue"], row["kvCache"]) == (2, 7, 0.75)
    assert (row["ttftSeconds"], row["dollarsPerHour"]) == (0.25, 2.5)
    assert row["tokensPerSecond"] is None, "nobody recorded it, so it is not zero"
    assert answer["notes"] == []
    assert "75%" in run(plane, "top", RECORDED, site.address(), "--once").stdout


def test_top_says_that_nothing_is_recorded(plane: ControlPlane, site: Site) -> None:
    found = run(plane, "top", BARE, site.address(), "--once")
    assert found.exit_code == Exit.DONE, found.output
    assert "none of Stoker's recorded series" in found.stderr
    assert "prometheusRules.enabled" in found.stderr
    assert found.stdout.split()[-8:] == ["0/-", *["-"] * 7]


def test_cost_shows_what_is_recorded_and_says_that_nothing_is(
    plane: ControlPlane, site: Site
) -> None:
    found = run(plane, "cost", RECORDED, site.address(), "-o", "json")
    assert found.exit_code == Exit.DONE, found.output
    told = json.loads(found.stdout)
    assert (told["pricePerHour"], told["windows"]["1d"]["spent"]) == (2.5, 12)
    assert told["windows"]["1h"]["perRequest"] == 0.004
    assert told["windows"]["1h"]["spent"] is None
    bare = run(plane, "cost", BARE, site.address())
    assert bare.exit_code == Exit.UNREACHABLE
    assert "no series of the cost of prometheus-bare/chat" in bare.stderr
    assert "serviceMonitor.enabled" in bare.stderr


@pytest.mark.parametrize("command", ["top", "cost"])
@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("html", Exit.UNREACHABLE, "a page of HTML"),
        ("nothing", Exit.UNREACHABLE, "HTTP 404"),
        ("refused", Exit.FORBIDDEN, "does not take the credentials"),
    ],
)
def test_what_is_no_prometheus_is_said(
    plane: ControlPlane, site: Site, command: str, name: str, status: Exit, said: str
) -> None:
    found = run(plane, command, RECORDED, site.address(name), *["--once"] * (command == "top"))
    assert found.exit_code == status
    assert said in found.stderr
    assert f"http://***@{LOOPBACK}" in found.stderr
    assert "without the option" in found.stderr
    assert found.stdout == ""


def test_an_old_prometheus_is_told_by_its_version(plane: ControlPlane, site: Site) -> None:
    said = "it is Prometheus 2.31.1, and the chart's rules take 2.42 or newer"
    assert said in run(plane, "top", RECORDED, site.address("old"), "--once").stderr
    cost = run(plane, "cost", RECORDED, site.address("old"))
    assert (cost.exit_code, said in cost.stderr) == (Exit.UNREACHABLE, True)


@pytest.mark.parametrize("command", ["top", "cost"])
def test_nobody_answers(plane: ControlPlane, spaces: None, command: str) -> None:
    del spaces
    address = f"http://me:{PASSWORD}@{LOOPBACK}:{free_port()}"
    found = run(plane, command, RECORDED, address, *["--once"] * (command == "top"))
    assert found.exit_code == Exit.UNREACHABLE
    assert "Cannot connect" in found.stderr


def test_the_page_has_names_that_top_reads() -> None:
    assert sum(name in PAGE for name in rates.SERIES) >= 5
