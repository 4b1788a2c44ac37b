"""One-step forecasts of a series, as Dynamo's planner makes them.

Source, ai-dynamo/dynamo: `components/src/dynamo/planner/core/load/predictors.py`. All skip zeros
until something else came, and give the last value while they know too little.

* constant: the last value.
* ARIMA: the original fits the order anew (auto_arima), which takes a library of its own. Here the
  order is (1, 1, 0) without drift, in the original's plain scale: the next change is phi times the
  last one, phi by least squares over all changes and within (-1, 1). From five values on; never
  below zero. A series of one value is that value.
* Kalman: a local linear trend with level and slope, q_level 1, q_trend 0.1, r 10, covariance 1000
  at the start. The original's setting of five points is never asked for in its code, nor here.

Prophet, the fourth choice, is left out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

Method = Literal["constant", "arima", "kalman"]

_POINTS: Final = 5
_STABLE: Final = 0.99
_Q_LEVEL: Final = 1.0
_Q_TREND: Final = 0.1
_R: Final = 10.0
_P: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Trend:
    """A filter's state before the next value: level, slope, and their covariance."""

    level: float
    slope: float
    level_variance: float
    covariance: float
    slope_variance: float

    def corrected(self, value: float) -> "Trend":
        """With a value seen."""
        surprise, spread = value - self.level, self.level_variance + _R
        gain, slope_gain = self.level_variance / spread, self.covariance / spread
        return Trend(
            self.level + gain * surprise,
            self.slope + slope_gain * surprise,
            (1 - gain) * self.level_variance,
            (1 - gain) * self.covariance,
            self.slope_variance - slope_gain * self.covariance,
        )

    def advanced(self) -> "Trend":
        """One step on."""
        return Trend(
            self.level + self.slope,
            self.slope,
            self.level_variance + 2 * self.covariance + self.slope_variance + _Q_LEVEL,
            self.covariance + self.slope_variance,
            self.slope_variance + _Q_TREND,
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """A series and what its method keeps."""

    method: Method
    values: tuple[float, ...] = ()
    trend: Trend | None = None

    def observed(self, value: float) -> "Forecast":
        """With the next value."""
        if value == 0 and not any(self.values):
            return self
        if self.method == "constant":
            return Forecast(self.method, (value,))
        values = (*self.values, value)
        if self.method == "arima":
            return Forecast(self.method, values)
        if self.trend is None:
            return Forecast(self.method, (value,), Trend(value, 0.0, _P, 0.0, _P).advanced())
        return Forecast(self.method, (values[0],), self.trend.corrected(value).advanced())

    @property
    def next(self) -> float:
        """The forecast; 0 before anything came."""
        if not self.values:
            return 0.0
        if self.trend is not None:
            return self.trend.level
        if self.method == "constant" or len(self.values) < _POINTS:
            return self.values[-1]
        changes = [last - first for first, last in pairwise(self.values)]
        before = sum(each * each for each in changes[:-1])
        if before == 0:
            return self.values[-1]
        both = sum(first * last for first, last in pairwise(changes))
        phi = max(-_STABLE, min(both / before, _STABLE))
        return max(0.0, self.values[-1] + phi * changes[-1])
