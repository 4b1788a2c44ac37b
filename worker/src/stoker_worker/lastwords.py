"""What the worker says: lines between the engine's own, and the reason why it ends."""

from __future__ import annotations

import os

from stoker_worker.contract import Termination


def say(text: str) -> None:
    """Write one line of our own between the engine's, never through a lock that a thread holds."""
    try:
        os.write(2, f"stoker-worker: {text}\n".encode())
    except OSError:
        return


def write_termination(path: str, termination: Termination) -> None:
    """Leave the reason where the kubelet looks for it; elsewhere there is no such file."""
    leave(path, termination.to_json())


def leave(path: str, message: str) -> None:
    """Leave a termination message, where there is a file for one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    except OSError:
        return
    try:
        os.write(descriptor, message.encode())
    finally:
        os.close(descriptor)
