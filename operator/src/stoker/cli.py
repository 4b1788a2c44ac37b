"""The command line: `stoker`, and the same as `kubectl stoker`.

Commands for people are in `stoker.commands`. What only the operator needs is imported when it runs,
so that commands answer, and shells complete, without waiting for it.
"""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from stoker.commands.bench import bench
from stoker.commands.cache import app as cache
from stoker.commands.chat import chat
from stoker.commands.completing import VARIABLE, answer_kubectl, answer_shell, completion
from stoker.commands.cost import cost
from stoker.commands.doctor.command import doctor
from stoker.commands.logs import logs
from stoker.commands.plan import plan
from stoker.commands.profile import profile
from stoker.commands.scale import scale
from stoker.commands.simulate import simulate_command
from stoker.commands.top import top
from stoker.commands.wait import wait
from stoker.commands.why import why
from stoker.settings import DEFAULT_PATH, ConfigError, Pod, load_settings
from stoker.telemetry.server import PORT

app = typer.Typer(
    help="Stoker runs LLM inference services on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command()(why)
app.command()(top)
app.command()(chat)
app.command()(bench)
app.command()(profile)
app.command()(wait)
app.command()(scale)
app.command()(logs)
app.command()(doctor)
app.command()(cost)
app.add_typer(cache, name="cache")
app.command()(plan)
app.command(name="simulate")(simulate_command)
app.command()(completion)


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
    import uvloop  # noqa: PLC0415 - see above

    from stoker.handlers.operator import Options, run_operator  # noqa: PLC0415 - see above
    from stoker.telemetry.logs import set_up_logging  # noqa: PLC0415 - see above

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
    from stoker.api.crd import crd_files  # noqa: PLC0415 - see above

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
    """Entry point of `stoker`."""
    answer_shell(app)
    app(prog_name="stoker", complete_var=VARIABLE)


def main_kubectl() -> None:
    """Entry point of `kubectl-stoker`, which kubectl finds as its plugin."""
    app(prog_name="kubectl stoker", complete_var=VARIABLE)


def main_kubectl_complete() -> None:
    """Entry point of `kubectl_complete-stoker`, which kubectl asks for completion."""
    sys.stdout.write(f"{answer_kubectl(app, sys.argv[1:])}\n")
