"""The ladder of techniques, run for real on a CPU: what is claimed, measured, planned."""
