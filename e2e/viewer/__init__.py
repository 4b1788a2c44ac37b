"""The dashboards as pictures, drawn from a Prometheus that runs."""
