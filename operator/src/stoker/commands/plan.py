"""`stoker plan`: what would run, on what, with which techniques, and why.

For a file nothing but files is read. With `--of` and `--accept` the service is one of a cluster,
and what its operator planned and offers is shown. Exit statuses: `stoker.commands.exits`.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from stoker.catalog.enginefile import version_of_image
from stoker.catalog.load import builtin_engines
from stoker.cluster.client import Client
from stoker.commands import answers, inputs, present, running, tables
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.reach import (
    Context,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    check_names,
    finish,
    print_data,
    with_service,
)
from stoker.model.inventory import hints
from stoker.model.observed import Key
from stoker.model.plan import Verdict
from stoker.model.sizing import Planned
from stoker.planner.decide import plan as decide
from stoker.planner.decide import problem_of
from stoker.planner.ladder import Rung
from stoker.planner.ladder import ladder as climb
from stoker.planner.request import request_of


@dataclass(frozen=True, slots=True)
class Files:
    """What a plan without a cluster is made from."""

    model: Path | None
    facts: Path | None
    gpu: tuple[str, ...]
    catalogue: Path | None
    engine_version: str | None
    plugin: tuple[str, ...]
    what_if: tuple[str, ...]
    ladder: bool
    allow_pickle: bool
    nodes: Path | None


def plan(  # noqa: PLR0917 - the options, as typer reads them
    file: Annotated[
        Path | None, typer.Argument(help="An InferenceService as YAML.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of the model: config.json and its files.")
    ] = None,
    facts: Annotated[Path | None, typer.Option(help="Facts of the model, as JSON.")] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="Accelerator to plan for, by its catalogue name; may be repeated."),
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="The administrator's catalogue (Helm values).")
    ] = None,
    engine_version: Annotated[
        str | None, typer.Option(help="Version of the engine. Default: the image's tag.")
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            help="Python package that the engine's image brings, as vllm-bnb-plugin; may be "
            "repeated. Default: engines.<name>.plugins of the catalogue."
        ),
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(help="A field below spec to change: optimization.kvCache.dtype=fp8."),
    ] = None,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Show the techniques one after the other, by gain.")
    ] = False,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="As with models.allowPickle; nothing is unpickled."),
    ] = False,
    nodes: Annotated[
        Path | None,
        typer.Option(help="Output of `kubectl get nodes -o json`: what is there comes first."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="SERVICE", help="Show the plan of a service of the cluster."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            metavar="SERVICE",
            help="Show the better plan that a service is offered, and take it.",
        ),
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the answer.")] = (
        Output.TABLE
    ),
) -> None:
    """Say what would run for FILE, why, how fast and at what price; or what to change.

    With --of the same of a service of the cluster; with --accept take the better plan it is
    offered.
    """
    files = Files(
        model,
        facts,
        tuple(gpu or ()),
        catalogue,
        engine_version,
        tuple(plugin or ()),
        tuple(what_if or ()),
        ladder,
        allow_pickle,
        nodes,
    )
    where = Where(namespace, kubeconfig, context)

    def answer() -> Exit:
        name = _service_name(file, of, accept, files, where)
        if file is not None:
            return _plan_file(file, files, output)
        act = partial(_show if accept is None else _accept, output=output)
        return with_service(name, where, act)

    finish(answer)


def _service_name(
    file: Path | None, of: str | None, accept: str | None, files: Files, where: Where
) -> str:
    """The service that is named, '' for a file; `InputError` where options do not fit together."""
    given = [each for each in (file, of, accept) if each is not None]
    if len(given) != 1:
        raise InputError(
            "pass one of: FILE (a plan without a cluster), --of SERVICE (the plan of a service), "
            "--accept SERVICE (take the better plan that it is offered)"
        )
    if file is not None:
        if where != Where(None, None, None):
            raise InputError(
                "--namespace, --kubeconfig and --context go with --of or --accept: a plan for a "
                "file asks no cluster"
            )
        return ""
    if files != Files(
        None, None, (), None, None, (), (), ladder=False, allow_pickle=False, nodes=None
    ):
        raise InputError(
            "--model, --facts, --gpu, --catalogue, --engine-version, --plugin, --what-if, "
            "--ladder, --allow-pickle and --nodes go with FILE: a cluster's service is planned by "
            "its operator"
        )
    name = (of if accept is None else accept) or ""
    check_names(name, where.namespace)
    return name


def _plan_file(file: Path, files: Files, output: Output) -> Exit:
    service = inputs.read_service(file, files.what_if)
    if files.model is None and files.facts is None:
        inputs.refuse_cached(file, service.spec.model)
    known = inputs.read_facts(files.model, files.facts, allow_pickle=files.allow_pickle)
    gpus = inputs.read_catalogue(files.catalogue)
    types = inputs.known_types(gpus, files.gpu)
    plugins = inputs.read_plugins(files.catalogue, service.spec.engine.name.value, files.plugin)
    version = files.engine_version or version_of_image(service.spec.engine.image or "")
    request = request_of(service.spec, version)
    if types:
        request = replace(request, accelerators=types)
    features = builtin_engines()[request.engine].at(version, plugins)
    inventory = (
        None if files.nodes is None else inputs.read_nodes(files.nodes, files.catalogue, gpus)
    )
    supply = None if inventory is None else inventory.supply(request.accelerators or tuple(gpus))
    answer = decide(request, known, gpus, features, inventory=supply)
    notes: list[Verdict] = []
    if inventory is not None and isinstance(answer, Planned):
        name = answer.configuration.accelerator
        notes = hints(name, inventory, gpus[name], features.driver)
    rungs: tuple[Rung, ...] = ()
    if files.ladder and isinstance(answer, Planned):
        rungs = climb(problem_of(request, known, gpus, features), answer.configuration)
    if output is Output.TABLE:
        console = Console()
        tables.show(console, answer)
        tables.show_hints(console, notes)
        if rungs:
            tables.show_ladder(console, rungs)
    else:
        print_data(answers.as_data(answer, rungs, notes), output)
    return Exit.DONE if isinstance(answer, Planned) else Exit.REFUSED


async def _show(_: Client, key: Key, body: dict[str, Any], output: Output) -> Exit:
    data = present.as_data(body, key)
    if output is Output.TABLE:
        present.show(Console(), body, key)
    else:
        print_data(data, output)
    return Exit.DONE if data["planned"] else Exit.REFUSED


async def _accept(client: Client, key: Key, body: dict[str, Any], output: Output) -> Exit:
    offered = running.offer_of(body, key)
    if output is Output.TABLE:
        present.show_offer(Console(), offered)
    if not offered.accepted:
        await running.accept(client, offered, body)
    if output is Output.TABLE:
        typer.echo(present.next_step(offered))
    else:
        print_data(present.offer_data(offered), output)
    return Exit.DONE
