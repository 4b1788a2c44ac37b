"""Error budgets: how fast what may go wrong is being used up.

Multiwindow, multi-burn-rate alerts of the SRE workbook (Google, chapter 5, "Alerting on SLOs"): a
burn rate of 14.4 over an hour uses 2 % of a month's budget, 6 over six hours 5 %, 1 over three days
10 %. The shorter window ends the alert soon after the trouble has ended. A factor of a wide budget
would be more than everything (14.4 times the 10 % of a p90 target), so it is cut at 90 %. A share
of few requests says nothing: the long window has to have ten.
"""

from typing import Final

from charts.observability import names
from charts.observability.metric import Metric
from charts.observability.rulefile import Alert
from charts.observability.services import ON

_LEAST_REQUESTS: Final = 10
_SECONDS: Final = {"1h": 3600, "6h": 21600, "3d": 259200}
# Burn rate, long window, short window.
_FAST: Final = (("14.4", "1h", "5m"), ("6", "6h", "30m"))
_SLOW: Final = (("1", "3d", "6h"),)
_WHO: Final = "{{ $labels.namespace }}/{{ $labels.service }}"
_SHARE: Final = "{{ $value | humanizePercentage }}"


def _burn(
    slo: str, shares: dict[str, Metric], whole: Metric, rates: tuple[tuple[str, str, str], ...]
) -> str:
    budget = f'(1 - {names.OBJECTIVE}{{slo="{slo}"}})'
    told = []
    for factor, long, short in rates:
        limit = f"clamp_max({factor} * {budget}, 0.9)"
        enough = f"avg_over_time({whole}[{long}]) * {_SECONDS[long]} >= {_LEAST_REQUESTS}"
        told.append(
            f"(\n  {shares[long]} > {ON} {limit}\n  and {ON} {shares[short]} > {ON} {limit}\n"
            f"  and {ON} {enough}\n)"
        )
    return "\nor\n".join(told)


ALERTS: Final = (
    Alert(
        "StokerErrorBudgetBurn",
        _burn("errors", names.ERRORS, names.ANSWERS, _FAST),
        "critical",
        f"{_SHARE} of the requests to {_WHO} fail",
        "Clients get 429 or 5xx so often that the month's error budget is gone within days. This "
        "is the share of the last hour, or of the last six.",
        hold="2m",
    ),
    Alert(
        "StokerErrorBudgetBurnForDays",
        _burn("errors", names.ERRORS, names.ANSWERS, _SLOW),
        "warning",
        f"{_SHARE} of the requests to {_WHO} failed in three days",
        "Clients get 429 or 5xx more often than the objective allows, for days already.",
        hold="1h",
    ),
    Alert(
        "StokerSlowFirstToken",
        _burn("ttft", names.TTFT_SLO_ERRORS, names.TTFT_JUDGED, _FAST),
        "critical",
        f"{_SHARE} of the first tokens of {_WHO} come later than the target",
        "The time to the first token misses its target so often that the month's budget is gone "
        "within days. This is the share of the last hour, or of the last six.",
        hold="2m",
    ),
    Alert(
        "StokerSlowFirstTokenForDays",
        _burn("ttft", names.TTFT_SLO_ERRORS, names.TTFT_JUDGED, _SLOW),
        "warning",
        f"{_SHARE} of the first tokens of {_WHO} came late in three days",
        "The time to the first token misses its target more often than promised, for days already.",
        hold="1h",
    ),
    Alert(
        "StokerSlowTokens",
        _burn("itl", names.ITL_SLO_ERRORS, names.ITL_JUDGED, _FAST),
        "warning",
        f"{_SHARE} of the gaps between tokens of {_WHO} are longer than the target",
        "Answers stream more slowly than promised. This is the share of the last hour, or of the "
        "last six.",
        hold="2m",
    ),
)
