"""What the cache of models costs, and what it withstands.

    python -m benchmarks.cache [--size GIB] [--rounds N] [--times N] [--folder DIR] [-o FILE]

No cluster: the fetch job's own code on a folder of this machine's disk, before a server that speaks
the hub's API. Needs twice the size on that disk, and root for the file systems that are too small.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cache.faults import REPO, SHARD_BYTES, SHARDS, Faults, Tally
from benchmarks.cache.speed import NETWORK, Speeds, make_model, measure, ratio
from benchmarks.common import options_of, report
from e2e.load import median
from tests.support.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str, str, str]


def speed_rows(speeds: Speeds) -> list[Row]:
    """Name, value and promise."""

    def rate(values: Sequence[float]) -> str:
        return f"{(median(values) or 0) / 1e6:.0f} MB/s"

    def cpu(values: Sequence[float]) -> str:
        return f"{median(values) or 0:.2f} s"

    added = ratio(speeds.blind, speeds.stoker) - 1
    slowly_added = ratio(speeds.network_blind, speeds.network) - 1
    return [
        ("disk, one writer, synced", rate(speeds.disk), ""),
        ("the same past the page cache", rate(speeds.direct), ""),
        ("loopback, 8 readers that keep nothing", rate(speeds.loopback), ""),
        ("hf download", rate(speeds.hf), ""),
        ("hf download, until it is on the disk", rate(speeds.hf_on_disk), ""),
        ("fetch job, until it is verified and on the disk", rate(speeds.stoker), ""),
        ("of the lower limit", f"{speeds.of_limit():.2f}", "≥ 0.9"),
        ("curl | tee | sha256sum, until it is on the disk", rate(speeds.pipe), ""),
        ("of that pipe", f"{ratio(speeds.stoker, speeds.pipe):.2f}", ""),
        ("of hf download", f"{ratio(speeds.stoker, speeds.hf):.2f}", "≥ 1.0"),
        ("of hf download on the disk", f"{ratio(speeds.stoker, speeds.hf_on_disk):.2f}", ""),
        ("added by verification", f"{added * 100:.1f} %", "≤ 10 %"),
        (
            f"the same where the source gives {NETWORK / 1e6:.0f} MB/s",
            f"{slowly_added * 100:.1f} %",
            "≤ 10 %",
        ),
        ("processor time for 10⁹ bytes: fetch job", cpu(speeds.stoker_cpu), ""),
        ("the same of hf download", cpu(speeds.hf_cpu), ""),
        ("the same of a job that hashes nothing", cpu(speeds.blind_cpu), ""),
        ("the same of curl | tee | sha256sum", cpu(speeds.pipe_cpu), ""),
        ("the same of the server", cpu(speeds.server_cpu), ""),
        ("look at a warm cache", f"{(median(speeds.check) or 0) * 1000:.1f} ms", "≤ 500 ms"),
    ]  # fmt: skip


def fault_rows(tallies: Sequence[Tally]) -> list[Row]:
    """The same for faults."""
    return [
        (
            f"{tally.name}, {tally.times} times",
            f"{tally.corrupt} corrupt, {tally.unusable} not whole after, "
            f"{tally.again / 1e6:.0f} MB again"
            + (f" of {tally.bad / 1e6:.0f} bad" * bool(tally.bad)),
            "0 corrupt, 0 not whole",
        )
        for tally in tallies
    ]


def main() -> int:
    """Measure and print; 1 where a promise that time has no part in is broken."""
    parser = options_of(__doc__)
    parser.add_argument("--size", type=float, default=2.0, help="GiB of the model that is fetched")
    parser.add_argument("--rounds", type=int, default=3, help="of everything that is timed")
    parser.add_argument("--times", type=int, default=20, help="of each fault; 0 for none")
    parser.add_argument("--folder", type=Path, default=Path("/var/cache"), help="on which disk")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stoker-bench-") as name:
        work = Path(name)
        speeds = measure(work, int(options.size * 2**30), options.rounds, _say)
    tallies = _faults(options.folder, options.times) if options.times else []
    numbers = {"speeds": speeds.to_json(), "faults": [vars(tally) for tally in tallies]}
    report("Model caches", [*speed_rows(speeds), *fault_rows(tallies)], numbers, options.output)
    return int(any(tally.corrupt or tally.unusable for tally in tallies))


def _faults(folder: Path, times: int) -> list[Tally]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="stoker-bench-") as name, Hub() as hub:
        work = Path(name)
        make_model(work / "source", SHARDS * SHARD_BYTES)
        (work / "volumes").mkdir()
        hub.add(REPO, work / "source")
        return Faults(hub, work / "source", work / "volumes", times).run()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
