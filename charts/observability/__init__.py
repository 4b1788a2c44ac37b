"""What Stoker ships to watch it with, written as code: recording rules, alerts, dashboards.

`python -m charts.observability` writes the files of the chart, `--check` only compares them.
Nothing here is part of the operator: it is neither in the wheel nor in the image.
"""
