"""An answer of the planner for people: what runs, where the memory goes, why, and what else."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stoker.model.plan import Verdict
from stoker.model.sizing import GIB, Alternative, Expected, Infeasible, Planned, Range, Technique
from stoker.planner import words
from stoker.planner.ladder import Rung


def show(console: Console, answer: Planned | Infeasible) -> None:
    """The whole answer."""
    if isinstance(answer, Planned):
        _show_plan(console, answer)
    else:
        _show_refusal(console, answer)


def show_hints(console: Console, notes: Sequence[Verdict]) -> None:
    """What nodes of the planned type say against the plan."""
    for note in notes:
        text = escape(f"{note.reason}: {note.message}")
        console.print(f"[bold yellow]Nodes[/] {text}", soft_wrap=True, highlight=False)


def show_ladder(console: Console, rungs: Sequence[Rung]) -> None:
    """The techniques one after the other."""
    table = titled("Technique by technique", "", "added")
    for name in ("tokens/s", "gain", "per token", "first token", "at once", "quality"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, rung in enumerate(rungs):
        found = rung.candidate
        mark = str(number) if rung.kept else "-"
        loss = f"-{rung.loss:g} %" if rung.loss else ""
        if found is None:
            table.add_row(mark, rung.technique, "cannot be had here", "", "", "", "", "")
            continue
        table.add_row(
            mark,
            rung.technique,
            f"{found.expected.output_tokens_per_s.typical:,.0f}",
            f"{rung.gain:.2f} x" if rung.gain else "",
            words.seconds(found.expected.itl_s.typical),
            words.seconds(found.expected.ttft_s.typical),
            f"{found.expected.concurrency:,}",
            loss,
        )
    console.print(table)
    console.print("- gains nothing on top of the others, or cannot be had with them", style="dim")


def _show_plan(console: Console, plan: Planned) -> None:
    console.print(f"[bold green]Planned[/] {escape(plan.verdict.message)}", soft_wrap=True)
    console.print(_plan_table(plan))
    console.print(_memory_table(plan))
    console.print(_technique_table(plan.techniques))
    if plan.alternatives:
        console.print(_way_table("Alternatives", plan.alternatives))
    flags = " ".join(f"--{name}={value}" for name, value in plan.args.items())
    env = " ".join(f"{name}={value}" for name, value in plan.env.items())
    line = escape(f"{env} {flags}".strip())
    console.print(f"[bold]Engine[/] {line}", soft_wrap=True, highlight=False)


def _show_refusal(console: Console, answer: Infeasible) -> None:
    console.print(
        f"[bold red]{answer.verdict.reason}[/] {escape(answer.verdict.message)}", soft_wrap=True
    )
    if answer.remedies:
        console.print(_way_table("Ways out, the cheapest first", answer.remedies))
    else:
        console.print("No single change was found that would help.")


def _plan_table(plan: Planned) -> Table:
    used, expected = plan.configuration, plan.expected
    cut = " x ".join(
        f"{name} {size}"
        for name, size in (
            ("tensor", used.tensor),
            ("pipeline", used.pipeline),
            ("data", used.data),
        )
        if size > 1
    )
    price = words.dollars(expected.price_per_hour)
    table = titled("Plan", "", "")
    for name, value in (
        ("accelerators", f"{used.accelerators} x {used.accelerator} {cut}".strip()),
        ("context", f"{used.max_model_len:,} tokens"),
        ("requests at once", f"{plan.concurrency:,} of the workload, at most {used.max_num_seqs}"),
        ("first token", _times(expected.ttft_s)),
        ("per token", f"{_times(expected.itl_s)} at {expected.concurrency:,} requests"),
        ("output", f"{_numbers(expected.output_tokens_per_s)} tokens/s"),
        ("price", f"{price} per hour{_per_million(expected)}"),
    ):
        table.add_row(name, value)
    return table


def _memory_table(plan: Planned) -> Table:
    memory = plan.memory
    table = titled("Memory per accelerator", "", "GiB")
    table.columns[1].justify = "right"
    for name, size in (
        ("total", memory.total),
        ("usable", memory.usable),
        ("weights", memory.weights),
        ("activations", memory.activations),
        ("driver and messages", memory.non_torch),
        ("CUDA graphs", memory.graphs),
        ("adapters", memory.adapters),
        ("draft", memory.draft),
        ("reserve", memory.reserve),
        ("KV cache", memory.kv_budget),
    ):
        if size:
            table.add_row(name, f"{size / GIB:.2f}")
    table.add_row("tokens in the cache", f"{memory.kv_tokens:,}")
    return table


def _technique_table(techniques: Sequence[Technique]) -> Table:
    table = titled("Techniques", "", "", "why")
    for each in techniques:
        table.add_row(each.name, coloured(each.state), escape(each.why))
    return table


def coloured(state: str) -> str:
    """The state of a technique, as markup."""
    style = {"on": "green", "refused": "red"}.get(state, "dim")
    return f"[{style}]{escape(state)}[/]"


def _way_table(title: str, ways: Sequence[Alternative]) -> Table:
    table = titled(title, "change")
    for name in ("at once", "context", "per token", "$/h", "$/M tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for way in ways:
        cost, price = way.expected.cost_per_million_tokens, way.expected.price_per_hour
        table.add_row(
            escape(way.change),
            f"{way.concurrency:,}",
            f"{way.configuration.max_model_len:,}",
            words.seconds(way.expected.itl_s.typical),
            "-" if price is None else f"{price:.2f}",
            "-" if cost is None else f"{cost.typical:.2f}",
        )
    return table


def titled(title: str, *columns: str) -> Table:
    """An empty table with its title to the left; columns without names have no head."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for name in columns:
        table.add_column(name)
    return table


def plain(text: str) -> str:
    """As text and nothing else: a message may hold words of a pod, and those steer no terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def safe(text: str) -> str:
    """The same for markup."""
    return escape(plain(text))


def _times(times: Range) -> str:
    low, high = words.seconds(times.low), words.seconds(times.high)
    return f"{words.seconds(times.typical)} ({low} to {high})"


def _numbers(numbers: Range) -> str:
    return f"{numbers.typical:,.0f} ({numbers.low:,.0f} to {numbers.high:,.0f})"


def _per_million(expected: Expected) -> str:
    cost = expected.cost_per_million_tokens
    return "" if cost is None else f", ${cost.typical:.2f} per million tokens of output"
