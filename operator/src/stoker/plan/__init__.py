"""What to run: from one look at the cluster to actions, status and reasons. Pure."""
