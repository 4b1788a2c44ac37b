"""A plugin for vLLM on processors with AMX, which goes into the engine's folder.

Linux has each process ask before it uses AMX's tiles (Documentation/arch/x86/xstate.rst), and ends
one that did not with SIGILL. vLLM 0.32's attention for processors uses them and does not ask.
oneDNN does, so mostly somebody has: not before a first prompt of fewer than eight tokens, and never
where all weights have four bits. vLLM calls its general plugins in each of its processes.
"""

import ctypes
import platform

_ARCH_PRCTL = 158
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18


def ask() -> None:
    """Ask for tiles; a kernel or processor that has none refuses, and nothing is lost."""
    if platform.machine() == "x86_64":
        ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)
