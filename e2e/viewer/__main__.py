"""`make screenshots`: every dashboard from the local cluster's Prometheus, into docs/images.

Grafana itself comes as a container image, a package of its own repository or a download, and none
of these is at hand wherever this runs. So the page beside this file draws the pictures: Grafana's
own libraries from npm (@grafana/ui and @grafana/data), the shipped JSON, and a Prometheus. Debian's
Chromium takes them, headless.

It needs Node.js, npm, Chromium, pngquant, and the cluster with the Prometheus of the end-to-end
tests, before the last of them takes it away: `pytest e2e --deselect e2e/test_99_cluster_goes.py`.
The tests need none of it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import html
import re
import shutil
import sys
import tempfile
import threading
import time
import urllib.parse
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster import programs
from e2e.cluster.host import run
from e2e.cluster.progress import Progress
from e2e.cluster.settings import REPOSITORY, ClusterError, kubeconfig
from e2e.viewer.pictures import PICTURES, Picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
DASHBOARDS = REPOSITORY / "charts" / "stoker" / "dashboards"
IMAGES = REPOSITORY / "docs" / "images"
WIDTH = 1280
# Of common screens; nothing in a table may be cut off on them.
WIDTHS = (WIDTH, 1920)
PATIENCE_SECONDS = 240
# Fetching waits for real answers; this is how far the page's own clock may run meanwhile.
PAGE_MILLISECONDS = 60_000
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--virtual-time-budget={PAGE_MILLISECONDS}",
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of each file."""


def build(folder: Path) -> None:
    """Build the page into a folder: npm's packages, pinned by package-lock.json, as one script."""
    for program in ("node", "npm", "chromium", "pngquant"):
        if shutil.which(program) is None:
            raise ClusterError(
                f"{program} is missing: run `apt-get install nodejs npm chromium pngquant` as root."
            )
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(HERE / name, folder / name)
    shutil.copytree(HERE / "src", folder / "src")
    quiet = ("--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund")
    with Progress("install the viewer's packages"):
        run("npm", "ci", *quiet, cwd=folder)
    with Progress("build the viewer"):
        run("npm", "run", "build", cwd=folder)
    shutil.copy2(HERE / "index.html", folder / "dist" / "index.html")
    shutil.copytree(DASHBOARDS, folder / "dist" / "dashboards")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine alone."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()
            thread.join()


def chromium(profile: Path, *arguments: str | Path) -> str:
    """Run Chromium once, with a profile of its own."""
    found = profile / str(time.monotonic_ns())
    done = run("chromium", *FLAGS, f"--user-data-dir={found}", *arguments, timeout=PATIENCE_SECONDS)
    return done.stdout


def look(address: str, picture: Picture, profile: Path, width: int) -> int:
    """How high a board is in a window of this width; an error where a table cuts words off."""
    drawn = chromium(profile, f"--window-size={width},1000", "--dump-dom", address)
    height = re.search(r"<title>(\d+)</title>", drawn)
    if height is None:
        raise ClusterError(f"{picture.name}: the page did not get ready: {drawn[-500:]}")
    cut = re.search(r'<body[^>]* data-cut="([^"]+)"', drawn)
    if cut is not None:
        raise ClusterError(
            f"{picture.name}, {width} pixels: tables cut off {html.unescape(cut[1])}"
        )
    return int(height[1])


def take(page: str, picture: Picture, profile: Path, parameters: dict[str, str]) -> Path:
    """Draw one dashboard and write it to docs/images."""
    query = urllib.parse.urlencode({"dashboard": picture.dashboard, **parameters, **picture.chosen})
    address = f"{page}?{query}"
    height, *_ = (look(address, picture, profile, width) for width in WIDTHS)
    path = IMAGES / f"{picture.name}.png"
    chromium(profile, f"--window-size={WIDTH},{height}", f"--screenshot={path}", address)
    run("pngquant", "--force", "--skip-if-larger", "--output", path, "128", path)
    return path


def prometheus() -> str:
    """Address of the cluster's Prometheus."""
    question = ("get", "service", "prometheus", "-n", "monitoring", "-o")
    env = {"KUBECONFIG": str(kubeconfig())}
    template = "jsonpath={.spec.clusterIP}"
    found = run(programs.ensure(["kubectl"])["kubectl"], *question, template, env=env).stdout
    return f"http://{found.strip()}:9090"


def main(arguments: Sequence[str]) -> int:
    """Take the pictures that are asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m e2e.viewer", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these pictures")
    parser.add_argument("--prometheus", help="its address; the cluster's without")
    parser.add_argument("--minutes", type=float, default=30, help="how long ago pictures begin")
    given = parser.parse_args(arguments)
    end = int(time.time())
    parameters = {
        "prometheus": given.prometheus or prometheus(),
        "from": str(int(end - given.minutes * 60)),
        "to": str(end),
    }
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stoker-viewer-") as base:
        build(Path(base))
        with served(Path(base) / "dist") as page:
            for picture in PICTURES:
                if not given.names or picture.name in given.names:
                    path = take(page, picture, Path(base) / "profile", parameters)
                    print(f"{path.relative_to(REPOSITORY)} {path.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
