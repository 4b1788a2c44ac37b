"""`stoker cost`: what a service costs now, and with Prometheus what it has cost and for what.

Without `--prometheus` it reads one object, for which the right `get` on inferenceservices is
enough. Exit statuses: `stoker.commands.exits`.
"""

from functools import partial
from typing import Any, Final

from rich.console import Console

from stoker.cluster.client import Client
from stoker.commands import bill, reach
from stoker.commands.bill import Bill, Window
from stoker.commands.exits import Exit
from stoker.commands.prometheus import Option, ask, check, fail, too_old
from stoker.commands.reach import Context, Form, Kubeconfig, Namespace, Output, Service, Where
from stoker.commands.tables import safe, titled
from stoker.model.observed import Key

_INSTEAD: Final = "without the option the status alone is told"
_SHARES: Final = {
    "serving": "requests ran",
    "idle": "ready, and none ran",
    "starting": "on a node and not ready yet",
    "ending": "told to go",
    "unknown": "its requests could not be counted",
}


def cost(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    namespace: Namespace = None,
    prometheus: Option = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Say what SERVICE costs: now, so far, for a request and for a million tokens."""

    def answer() -> Exit:
        reach.check_names(service, namespace)
        check(prometheus)
        act = partial(_of_cluster, prometheus=prometheus, output=output)
        return reach.with_service(service, Where(namespace, kubeconfig, context), act)

    reach.finish(answer)


async def _of_cluster(
    _: Client, key: Key, body: dict[str, Any], prometheus: str | None, output: Output
) -> Exit:
    found = bill.of_status(body, str(key))
    if prometheus is not None:
        told = bill.with_series(
            found, await ask(prometheus, bill.query(key.namespace, key.name), _INSTEAD)
        )
        if told is None:
            why = await too_old(prometheus) or (
                "see that it scrapes the operator (serviceMonitor.enabled) and loads the chart's "
                "rules (prometheusRules.enabled)"
            )
            fail(prometheus, f"it has no series of the cost of {key}: {why}", _INSTEAD)
        found = told
    if output is Output.TABLE:
        show(Console(), found, asked=prometheus is not None)
    else:
        reach.print_data(bill.as_data(found), output)
    return Exit.DONE


def show(console: Console, found: Bill, *, asked: bool) -> None:
    """The bill for people."""
    table = titled(f"What {safe(found.service)} costs, in US dollars", "", "")
    for name, words in _now(found):
        table.add_row(name, words)
    console.print(table)
    for name, window in found.windows.items():
        rows = _over(window, found)
        if rows:
            table = titled({"1h": "In the last hour", "1d": "In the last day"}[name], "", "")
            for each in rows:
                table.add_row(*each)
            console.print(table)
    if not asked:
        console.print(
            "What was spent so far, for a request and for a million tokens, Prometheus knows: "
            "pass --prometheus http://HOST:PORT.",
            soft_wrap=True,
        )


def _now(found: Bill) -> list[tuple[str, str]]:
    if found.per_hour is None:
        why = "not known: a type without a price runs, or the operator has not looked yet"
        rows = [("now", f"{why} (docs/cost.md)")]
    else:
        count = "" if found.replicas is None else f", with {found.replicas} replicas"
        day = dollars(found.per_hour * 24)
        rows = [("now", f"{dollars(found.per_hour)} per hour, {day} per day{count}")]
    by = ((name.replace("_", " "), price) for name, price in sorted(found.by_capacity.items()))
    rows += [(f"  {name}", f"{dollars(price)} per hour") for name, price in by]
    if found.of_replica is not None:
        rows.append(("one replica", f"{dollars(found.of_replica)} per hour, by the plan"))
    if found.static_per_hour is not None:
        most = dollars(found.static_per_hour)
        rows.append(("a static fleet", f"{most} per hour: the day's most replicas, all the time"))
    if found.public_per_hour is not None:
        rows.append(("a public API", f"{dollars(found.public_per_hour)} per hour for these tokens"))
    return rows


def _over(window: Window, found: Bill) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if window.total is not None:
        rows.append(("spent", dollars(window.total)))
        for share, words in _SHARES.items():
            part = window.spent.get(share, 0.0)
            if part > 0 and window.total > 0:
                rows.append((f"  {share}", f"{dollars(part)}, {part / window.total:.0%}: {words}"))
    if window.per_request is not None:
        p95 = window.per_request_p95
        more = "" if p95 is None else f", P95 {dollars(p95)}"
        rows.append(("a request", f"{dollars(window.per_request)} on average{more}"))
    for direction in ("input", "output"):
        price = window.per_million.get(direction)
        public = found.public_prices.get(direction)
        if price is not None:
            than = "" if public is None else f" (a public API: {dollars(public)})"
            rows.append((f"a million tokens of {direction}", f"{dollars(price)}{than}"))
    return rows


def dollars(value: float) -> str:
    """A sum with as many digits as say something: $12.34, $0.0042."""
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.2g}"
