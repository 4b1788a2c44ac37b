"""Tests, in folders by what they need: values only, or real programs.

A folder with an `__init__.py` is a package of pytest's: what costs a process of its own, such as a
control plane, has the scope `package` there and ends with it, so that it takes no processor time
from the tests that follow.
"""
