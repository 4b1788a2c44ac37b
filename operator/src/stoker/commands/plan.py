"""`stoker plan`: what would run, on what, with which techniques, and why; without a cluster.

Exit status: 0 where there is a plan, 3 where the request does not fit or is refused, 2 for input
that cannot be read.
"""

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from stoker.catalog.enginefile import version_of_image
from stoker.catalog.load import builtin_engines
from stoker.commands import answers, inputs, tables
from stoker.model.sizing import Planned
from stoker.planner.decide import plan as decide
from stoker.planner.decide import problem_of
from stoker.planner.ladder import Rung
from stoker.planner.ladder import ladder as climb
from stoker.planner.request import request_of

REFUSED = 3
BAD_INPUT = 2


class Output(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def plan(  # noqa: PLR0917 - the options, as typer reads them
    file: Annotated[Path, typer.Argument(help="An InferenceService as YAML.")],
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
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the answer.")] = (
        Output.TABLE
    ),
) -> None:
    """Say what would run for FILE, why, how fast and at what price; or what to change."""
    try:
        service = inputs.read_service(file, what_if or ())
        known = inputs.read_facts(model, facts)
        gpus = inputs.read_catalogue(catalogue)
        types = inputs.known_types(gpus, gpu or ())
        plugins = inputs.read_plugins(catalogue, service.spec.engine.name.value, plugin or ())
    except inputs.InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from error
    version = engine_version or version_of_image(service.spec.engine.image or "")
    request = request_of(service.spec, version)
    if types:
        request = replace(request, accelerators=types)
    features = builtin_engines()[request.engine].at(version, plugins)
    answer = decide(request, known, gpus, features)
    rungs: tuple[Rung, ...] = ()
    if ladder and isinstance(answer, Planned):
        rungs = climb(problem_of(request, known, gpus, features), answer.configuration)
    match output:
        case Output.TABLE:
            console = Console()
            tables.show(console, answer)
            if rungs:
                tables.show_ladder(console, rungs)
        case Output.JSON:
            typer.echo(json.dumps(answers.as_data(answer, rungs), indent=2))
        case Output.YAML:
            typer.echo(yaml.safe_dump(answers.as_data(answer, rungs), sort_keys=False), nl=False)
    raise typer.Exit(0 if isinstance(answer, Planned) else REFUSED)
