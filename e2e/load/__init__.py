"""A load client that retries nothing, forgives nothing and remembers everything."""

from e2e.load.background import BackgroundLoad, run
from e2e.load.client import LoadClient, Request, Target
from e2e.load.patterns import ClosedLoop, Mix, OpenLoop, Pattern, Together
from e2e.load.records import LONG_STREAM_SECONDS, Exposure, Kind, Outcome, Record
from e2e.load.summary import Spread, Summary, median, percentile

__all__ = [
    "LONG_STREAM_SECONDS",
    "BackgroundLoad",
    "ClosedLoop",
    "Exposure",
    "Kind",
    "LoadClient",
    "Mix",
    "OpenLoop",
    "Outcome",
    "Pattern",
    "Record",
    "Request",
    "Spread",
    "Summary",
    "Target",
    "Together",
    "median",
    "percentile",
    "run",
]
