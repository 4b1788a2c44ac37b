"""Command line: `python -m e2e.cluster up|down|status|logs|images|env`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys

from e2e.cluster import lifecycle
from e2e.cluster.catalogue import PROGRAMS
from e2e.cluster.connection import connect
from e2e.cluster.images import ensure_images
from e2e.cluster.programs import ensure
from e2e.cluster.settings import ClusterError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster, or what is missing of it")
    down = commands.add_parser("down", help="take it away, leaving no trace")
    down.add_argument("--force", action="store_true", help="even if another checkout owns it")
    commands.add_parser("status", help="show what runs")
    logs = commands.add_parser("logs", help="show the end of one part's log")
    logs.add_argument("component", nargs="?", default="")
    logs.add_argument("--lines", type=int, default=100)
    images = commands.add_parser("images", help="build and push images, print their references")
    images.add_argument("names", nargs="*", help="only these")
    commands.add_parser("env", help="print shell settings: eval $(python -m e2e.cluster env)")
    programs = commands.add_parser("programs", help="fetch or build programs, print their paths")
    programs.add_argument("names", nargs="*", help="only these")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    mode = os.environ.get("CLUSTER", "local")
    match arguments.command:
        case "up":
            print(f"KUBECONFIG={lifecycle.up()}")
        case "down":
            lifecycle.down(force=arguments.force)
        case "status":
            return 0 if lifecycle.status() else 1
        case "logs":
            lifecycle.logs(arguments.component, arguments.lines)
        case "images":
            print(json.dumps(ensure_images(arguments.names or None, mode), indent=2))
        case "env":
            for name, value in connect(mode, images=False).environment().items():
                print(f"export {name}={shlex.quote(value)}")
        case _:
            paths = ensure(arguments.names or PROGRAMS)
            print(json.dumps({name: str(path) for name, path in paths.items()}, indent=2))
    return 0


def main() -> int:
    """Run one command; a mistake of the user or of the machine is one sentence."""
    try:
        return _run(_parser().parse_args())
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the command again, it goes on where it stopped\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
