"""The chain, in the order in which links depend on each other."""

from typing import Final

from stoker.commands.doctor import hardware, platform, pods, refused, service

PLATFORM: Final = platform.CHECKS
SERVICE: Final = (
    *service.FIRST,
    *pods.STARTING,
    *refused.CHECKS,
    *service.MODEL,
    *hardware.CHECKS,
    *pods.RUNNING,
)
# The service first where the definitions are there: who misspelt a name needs no lecture.
ALL: Final = (*PLATFORM[:3], SERVICE[0], *PLATFORM[3:], *SERVICE[1:])
