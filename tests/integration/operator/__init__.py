"""The operator on a real control plane."""
