"""The command line: `stoker run`, `plan`, `why`, `cache`, `simulate`, `crd`, `version`."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from stoker.api.crd import crd_files
from stoker.commands.cache import app as cache
from stoker.commands.plan import plan
from stoker.commands.simulate import simulate_command
from stoker.commands.why import why
from stoker.handlers.operator import Options, run_operator
from stoker.settings import DEFAULT_PATH, ConfigError, Pod, load_settings
from stoker.telemetry.logs import set_up_logging
from stoker.telemetry.server import PORT

app = typer.Typer(
    help="Stoker runs LLM inference services on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command()(plan)
app.command()(why)
app.add_typer(cache, name="cache")
app.command(name="simulate")(simulate_command)


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="The administrator's file.")] = DEFAULT_PATH,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Credentials, when not running in a cluster.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace of the Lease. Default: POD_NAMESPACE.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve metrics and probes on.")] = "",
    port: Annotated[int, typer.Option(help="Port to serve metrics and probes on.")] = PORT,
) -> None:
    """Run the operator until it is told to stop."""
    try:
        settings = load_settings(config)
        pod = Pod.model_validate({})
        if namespace or not pod.namespace:
            pod = pod.model_copy(update={"namespace": namespace or "default"})
        set_up_logging(settings.log_level)
        service = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        options = Options(
            settings, pod, kubeconfig, host or None, port, (service,) if service else ()
        )
        code = uvloop.run(run_operator(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


@app.command()
def crd(
    check: Annotated[bool, typer.Option(help="Write nothing; fail if a file is stale.")] = False,
    root: Annotated[Path, typer.Option(help="Root of the repository.")] = Path(),
) -> None:
    """Write the CustomResourceDefinition's files from the models."""
    stale = [
        name
        for name, text in crd_files().items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != text
    ]
    if check:
        for name in stale:
            print(f"{name} differs from the models: run `stoker crd`", file=sys.stderr)
        raise typer.Exit(1 if stale else 0)
    for name in stale:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(crd_files()[name], encoding="utf-8")
        print(name)


@app.command()
def version() -> None:
    """Print the version."""
    print(version_of("stoker"))


def main() -> None:
    """Entry point."""
    app()
