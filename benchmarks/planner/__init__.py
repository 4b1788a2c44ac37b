"""How near the planner's numbers are to what engines really do.

    python -m benchmarks.planner [--measured DIR] [--fit] [-o FILE]

Arithmetic alone: no accelerator, no cluster, under a minute. Published points are in `points.yaml`;
`--measured` names a folder with per-request measurements of real runs (`<name>.csv.gz` and
`<name>.series.csv.gz` as LLMServingSim's examples have them); without it they are left out, and
the report says so.
"""
