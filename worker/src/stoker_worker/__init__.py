"""The supervisor that Stoker brings into an engine image."""
