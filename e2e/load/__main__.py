"""Put load on an address and say what came back.

python -m e2e.load --url http://10.96.3.4/v1 --model tiny --rate 10 --duration 30
python -m e2e.load --url http://10.96.3.4/v1 --model tiny --users 8 --duration 30 -o out.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from e2e.load import ClosedLoop, Mix, OpenLoop, Pattern, Record, Summary, Target, run

PROMPTS = ("Licensed under the Apache License, Version 2.0", '"Legal Entity" shall mean')


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.load", description=__doc__.split("\n")[0])
    parser.add_argument("--url", required=True, help="base address, ends in /v1")
    parser.add_argument("--model", required=True, help="name of the model to ask for")
    pattern = parser.add_mutually_exclusive_group()
    pattern.add_argument("--rate", type=float, help="open loop: requests a second")
    pattern.add_argument("--users", type=int, help="closed loop: requests in flight (default 4)")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of sending")
    parser.add_argument("--poisson", type=int, metavar="SEED", help="open loop with random gaps")
    parser.add_argument("--stream-share", type=float, default=0.5, help="0 none, 1 all")
    parser.add_argument("--unary-tokens", type=int, default=16)
    parser.add_argument("--stream-tokens", type=int, default=64)
    parser.add_argument("--api", choices=["chat", "completions"], default="chat")
    parser.add_argument("--prompt", action="append", help="may be given several times")
    parser.add_argument("--keep-alive", action="store_true", help="reuse connections")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one request")
    parser.add_argument("--api-key", help="sent as a bearer token")
    parser.add_argument("-o", "--output", type=Path, help="write summary and records as JSON")
    return parser.parse_args(arguments)


def pattern_of(options: argparse.Namespace) -> Pattern:
    mix = Mix(
        prompts=tuple(options.prompt or PROMPTS),
        stream_share=options.stream_share,
        unary_tokens=options.unary_tokens,
        stream_tokens=options.stream_tokens,
        api=options.api,
    )
    if options.rate is not None:
        return OpenLoop(mix, options.rate, options.duration, options.poisson)
    return ClosedLoop(mix, options.users or 4, options.duration)


def write(path: Path, records: list[Record], summary: Summary) -> None:
    found = {"summary": summary.to_json(), "records": [record.to_json() for record in records]}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    options = parse()
    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    target = Target(
        url=options.url,
        model=options.model,
        keep_alive=options.keep_alive,
        total_seconds=options.timeout,
        silent_seconds=options.timeout,
        request_headers=headers,
    )
    records = run(target, pattern_of(options))
    summary = Summary.of(records)
    console = Console(stderr=True)
    console.print(summary.table(options.url))
    for words, count in summary.errors.items():
        console.print(f"{count} times {words}", markup=False, highlight=False)
    if options.output is not None:
        write(options.output, records, summary)
    return 1 if summary.lost else 0


if __name__ == "__main__":
    sys.exit(main())
