"""One time series by name: what it means, its unit and its labels."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

# Labels. `cluster` is an external label and may be absent; then grouping by it changes nothing.
SERVICE: Final = ("cluster", "namespace", "service")
REVISION: Final = (*SERVICE, "revision")
POD: Final = (*REVISION, "pod")


@dataclass(frozen=True, slots=True)
class Metric:
    """A series, or a family of them. As text it is its name, so that it fits into a query."""

    name: str
    help: str
    unit: str  # seconds, bytes, ratio, tokens, requests, …; per second where the name says rate
    labels: tuple[str, ...]
    kind: Kind = "gauge"

    def __str__(self) -> str:
        """The name."""
        return self.name

    @property
    def bucket(self) -> str:
        """The buckets of a histogram, with the label le."""
        return self._part("bucket")

    @property
    def sum(self) -> str:
        """The sum of a histogram."""
        return self._part("sum")

    @property
    def count(self) -> str:
        """The count of a histogram."""
        return self._part("count")

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind == "histogram":
            return (self.bucket, self.sum, self.count)
        return (self.name,)

    def _part(self, part: str) -> str:
        if self.kind != "histogram":
            raise ValueError(f"{self.name} is a {self.kind} and has no {part}")
        return f"{self.name}_{part}"
