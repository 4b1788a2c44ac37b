"""Policies to compare with, by the name that `stoker simulate --policy` takes.

`stoker.simulate.policy` says what a policy is and how to add one.
"""

from collections.abc import Mapping
from typing import Final

from stoker.simulate.policy import Factory

BASELINES: Final[Mapping[str, Factory]] = {}
