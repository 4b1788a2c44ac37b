"""Scaling policies on request traces, compared at equal attainment."""
