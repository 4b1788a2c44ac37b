"""What a service's status says of its plan, for people and for programs.

The status may be older or newer than this program, so what is not there is left out.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stoker.commands.running import Offered
from stoker.commands.tables import coloured, titled
from stoker.model.observed import Key

_RANGES = (
    ("first token", "ttft", ""),
    ("per token", "itl", ""),
    ("output", "tokensPerSecond", " tokens/s"),
    ("$ per million tokens", "costPerMillionTokens", ""),
)
_PLAIN = (
    ("accelerators", "perReplica"),
    ("of type", "accelerator"),
    ("tensor parallel", "tensor"),
    ("pipeline parallel", "pipeline"),
    ("data parallel", "data"),
    ("context, tokens", "maxModelLen"),
    ("requests at once, at most", "maxNumSeqs"),
    ("conversations that fit", "concurrency"),
    ("weights, GiB each", "weightsGiB"),
    ("KV cache, GiB each", "kvCacheGiB"),
    ("tokens in the cache", "kvCacheTokens"),
)


def as_data(body: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """Whether the spec as it is now is planned, why, and the plan as the status holds it."""
    found = _condition(body)
    return {
        "service": str(key),
        "planned": found.get("status") == "True",
        "reason": found.get("reason"),
        "message": found.get("message"),
        "plan": _plan(body) or None,
    }


def show(console: Console, body: Mapping[str, Any], key: Key) -> None:
    """The same as tables."""
    found, plan = _condition(body), _plan(body)
    word = {"True": "[bold green]Planned[/]", "False": "[bold red]Not planned[/]"}
    state = word.get(str(found.get("status")), "[bold yellow]Not planned yet[/]")
    said = found.get("message") or "the operator has not looked at it yet."
    console.print(f"{state} {escape(str(key))}: {escape(str(said))}", soft_wrap=True)
    if not plan:
        return
    if found.get("status") != "True":
        console.print("What was planned before, and runs where anything does:", style="dim")
    console.print(_numbers(plan))
    drawn = (
        ("techniques", _techniques),
        ("alternatives", _alternatives),
        ("proposals", _proposals),
    )
    for title, draw in drawn:
        entries = [each for each in plan.get(title) or () if isinstance(each, Mapping)]
        if entries:
            console.print(draw(entries))
    if isinstance(plan.get("offer"), Mapping):
        offer = plan["offer"]
        console.print(
            f"[bold]Offered[/] {escape(str(offer.get('summary')))}: "
            f"{escape(str(offer.get('saves')))}. It restarts the replicas; take it with "
            f"`stoker plan --accept {key.name} -n {key.namespace}`",
            soft_wrap=True,
        )


def _proposals(entries: list[Mapping[str, Any]]) -> Table:
    table = titled("Proposals: write the field to have it; it restarts the replicas", "", "", "why")
    for each in entries:
        told = (str(each.get(name)) for name in ("change", "gain", "why"))
        table.add_row(*map(escape, told))
    return table


def offer_data(offered: Offered) -> dict[str, Any]:
    """An accepted offer for programs."""
    return {
        "service": str(offered.key),
        "accepted": offered.annotation if offered.accepted else offered.id,
        "before": offered.accepted,
        "runs": offered.runs,
        "offer": {"id": offered.id, "summary": offered.summary, "saves": offered.saves},
    }


def show_offer(console: Console, offered: Offered) -> None:
    """What would change, what it is worth, and what it costs."""
    table = titled(f"Offer {offered.id} for {offered.key}", "", "")
    for name, text in (
        ("runs", offered.runs),
        ("offered", offered.summary),
        ("it gives", offered.saves),
        ("it costs", f"a rollout of every replica: {_rollout(offered)}"),
    ):
        table.add_row(name, escape(text))
    console.print(table)


def next_step(offered: Offered) -> str:
    """What happens now that the operator knows."""
    key = offered.key
    if offered.accepted:
        how = "every offer" if offered.annotation != offered.id else "this offer"
        start = f"{key} had accepted {how} before, and nothing was changed."
    else:
        start = f"{key} accepts the offer {offered.id}."
    return (
        f"{start} The operator takes it with its next look, within seconds where it runs, and "
        f"rolls the replicas over. Follow it with `kubectl get infer {key.name} -n "
        f"{key.namespace} -w`; when it is taken, status.plan.accepted says {offered.id}"
    )


def _rollout(offered: Offered) -> str:
    if offered.recreates:
        return "the old ones drain first, and requests wait for the new ones"
    return "new ones answer before old ones drain, so an accelerator more is taken for a while"


def _condition(body: Mapping[str, Any]) -> Mapping[str, Any]:
    status = body.get("status") or {}
    for each in status.get("conditions") or ():
        if each.get("type") == "Planned":
            return dict(each)
    return {}


def _plan(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (body.get("status") or {}).get("plan")
    return found if isinstance(found, Mapping) else {}


def _numbers(plan: Mapping[str, Any]) -> Table:
    table = titled("Plan", "", "")
    table.add_row("runs", escape(str(plan.get("summary"))))
    for name, field in _PLAIN:
        if plan.get(field) is not None:
            value = plan[field]
            table.add_row(name, f"{value:,}" if isinstance(value, int) else escape(str(value)))
    expected = plan.get("expected") or {}
    for name, field, unit in _RANGES:
        value = expected.get(field)
        if isinstance(value, Mapping):
            low, high = value.get("low"), value.get("high")
            table.add_row(name, escape(f"{value.get('typical')}{unit} ({low} to {high})"))
    if expected.get("pricePerHour") is not None:
        table.add_row("$ per hour", escape(str(expected["pricePerHour"])))
    residual = plan.get("residual") or {}
    if residual.get("kvTokensReported") is not None:
        table.add_row("the engine reports", f"{residual['kvTokensReported']:,} tokens in the cache")
    if plan.get("accepted"):
        table.add_row("accepted offer", escape(str(plan["accepted"])))
    return table


def _techniques(entries: list[Mapping[str, Any]]) -> Table:
    table = titled("Techniques", "", "", "why")
    for each in entries:
        state = coloured(str(each.get("state")))
        table.add_row(escape(str(each.get("name"))), state, escape(str(each.get("why"))))
    return table


def _alternatives(entries: list[Mapping[str, Any]]) -> Table:
    table = titled("Alternatives", "change", "at once", "$/h")
    for each in entries:
        table.add_row(
            escape(str(each.get("change"))),
            str(each.get("concurrency", "-")),
            escape(str(each.get("pricePerHour", "-"))),
        )
    return table
