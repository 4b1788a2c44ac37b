"""Accelerators and engines as data, and the typed values that are read from it."""
