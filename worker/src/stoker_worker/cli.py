"""`stoker-worker` and its commands: `install`, `serve`, `facts`, `fetch` and `await`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import List, Mapping, Optional

from stoker_worker.cachecontract import ENV_FETCH
from stoker_worker.contract import (
    ALLOW_PICKLE,
    ENV_CONFIG,
    ENV_POD_NAME,
    ENV_POD_UID,
    ENV_TERMINATION_LOG,
    TERMINATION_LOG,
    ContractError,
    Termination,
    TerminationReason,
    WorkerConfig,
)
from stoker_worker.engines import Driver, driver_named
from stoker_worker.events import Event, TerminateRequested, Tick
from stoker_worker.group import membership_of
from stoker_worker.lastwords import leave, say, write_termination
from stoker_worker.model import check_model, memory_limit
from stoker_worker.process import EngineProcess
from stoker_worker.proof import prove
from stoker_worker.reading import Reading

USAGE = f"""usage: stoker-worker install DIR   put the worker into DIR as one file
       stoker-worker serve         run the engine that {ENV_CONFIG} describes
       stoker-worker facts MODEL_DIR [{ALLOW_PICKLE}]
                                   say what the model in MODEL_DIR is, without loading it
       stoker-worker fetch         fill or check the model cache that {ENV_FETCH} describes
       stoker-worker await MODEL_DIR
                                   end once a model was published in MODEL_DIR
       stoker-worker stage MODEL_DIR DIR
                                   copy the weights in MODEL_DIR into DIR, which lies in memory"""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) == 2 and words[0] == "install":
        return _install(Path(words[1]))
    if words == ["serve"]:
        return _serve(os.environ)
    if words == ["fetch"]:
        return _fetch(os.environ)
    if words[:1] == ["facts"] and len(words) == 2 + (words[2:] == [ALLOW_PICKLE]):
        return _facts(Path(words[1]), allow_pickle=len(words) == 3)
    if len(words) == 2 and words[0] == "await":
        from stoker_worker.awaiting import wait_for  # noqa: PLC0415 - `serve` needs none of it

        return wait_for(Path(words[1]))
    if len(words) == 3 and words[0] == "stage":
        return _stage(Path(words[1]), Path(words[2]))
    print(USAGE, file=sys.stderr)
    return 2


def _stage(model: Path, target: Path) -> int:
    from stoker_worker.staging import stage  # noqa: PLC0415 - `serve` needs none of it

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as PID 1 it would not hear it
    fault = stage(model, target)
    log = os.environ.get(ENV_TERMINATION_LOG, TERMINATION_LOG)
    return 0 if fault is None else _fail(log, fault)


def _install(folder: Path) -> int:
    from stoker_worker.install import install  # noqa: PLC0415 - zipfile costs `serve` start-up time

    try:
        print(install(folder))
    except OSError as error:
        print(f"stoker-worker: cannot write {folder}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _facts(folder: Path, *, allow_pickle: bool) -> int:
    # Only here: `serve` needs none of it.
    from stoker_worker.inspect import InspectError, inspect_model  # noqa: PLC0415
    from stoker_worker.modelfacts import to_message  # noqa: PLC0415

    log = os.environ.get(ENV_TERMINATION_LOG, TERMINATION_LOG)
    try:
        facts = inspect_model(folder, allow_pickle=allow_pickle)
    except InspectError as error:
        termination = Termination(error.reason, error.message)
        print(termination.to_json())
        return _fail(log, termination)
    answer = to_message(facts)
    print(answer)
    leave(log, answer)
    return 0


def _fetch(environ: Mapping[str, str]) -> int:
    # Only here: it needs libraries and a Python that an engine's image may not have.
    from stoker_worker.fetch.main import main as fetch  # noqa: PLC0415

    return fetch(environ)


def _serve(environ: Mapping[str, str]) -> int:
    log = TERMINATION_LOG
    try:
        config = WorkerConfig.from_json(environ.get(ENV_CONFIG, ""))
        log = config.termination_log
        driver = driver_named(config.engine)
        arguments = driver.arguments(config)
        member = membership_of(config, environ)
    except ContractError as error:
        return _fail(log, Termination(TerminationReason.CONFIG_INVALID, str(error)))
    folder = Path(config.model_path)
    proof = prove(folder)
    fault = None if proof is None else proof.fault
    fault = fault or check_model(folder, allow_pickle=config.allow_pickle)
    if fault is not None:
        return _fail(log, fault)
    suspects = () if proof is None else proof.suspects
    if suspects:
        say(f"{len(suspects)} files of the model were touched since they were hashed: reading them")
    reading = Reading(folder, suspects, ahead=config.prefetch, memory_bytes=memory_limit())
    # The engine gets the pod's environment as it is, less what is ours.
    own = {ENV_CONFIG, ENV_POD_NAME, ENV_POD_UID}
    inherited = {name: value for name, value in environ.items() if name not in own}
    env = driver.environment(inherited)
    queue: SimpleQueue[Event] = SimpleQueue()
    _catch_signals(queue)
    group = None
    if member is not None:
        from stoker_worker.assembly import Group  # noqa: PLC0415 - most replicas are one pod

        group = Group(config, member, queue, reading)
        place = group.assemble()
        if reading.fault is not None:
            return _fail(log, reading.fault)
        if place is None:
            return 0  # asked to end before there was an engine
        arguments, env = driver.arguments(config, place), driver.environment(inherited, place)
    keeper = None
    if config.compiled_key:
        from stoker_worker.keeping import keeper_of  # noqa: PLC0415 - tarfile costs start-up time

        keeper = keeper_of(config, 0 if group is None else group.member.rank)
    try:
        engine = EngineProcess([*_launcher(config, driver, env), *arguments], env)
    except OSError as error:
        text = f"the engine cannot be started: {error}; is this an image of {config.engine}?"
        return _fail(log, Termination(TerminationReason.ENGINE_CRASHED, text))
    # Only now: these modules take longer to import than all of the above.
    from stoker_worker.supervisor import Supervisor  # noqa: PLC0415

    try:
        supervisor = Supervisor(
            config,
            driver,
            env,
            engine,
            queue,
            pod=environ,
            reading=reading,
            proof=proof,
            group=group,
            keeper=keeper,
        )
        return supervisor.run()
    except BaseException:
        engine.kill()  # outside a container nothing else would end it
        raise


def _catch_signals(queue: SimpleQueue[Event]) -> None:
    """Before the engine runs: PID 1 never gets a signal that it has no handler for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: queue.put(TerminateRequested()))
    # An engine that ends should be noticed now, not at the next tick.
    signal.signal(signal.SIGCHLD, lambda *_: queue.put(Tick()))


def _launcher(config: WorkerConfig, driver: Driver, env: Mapping[str, str]) -> List[str]:
    """Choose the words before the engine's own: configured, the image's command, our Python's."""
    if config.engine_command:
        return config.engine_command
    found = shutil.which(driver.program, path=env.get("PATH"))
    return [found] if found else [sys.executable, "-m", driver.module]


def _fail(log: str, termination: Termination) -> int:
    say(f"{termination.reason}: {termination.message}")
    write_termination(log, termination)
    return 1
