"""Real Envoys and pickers."""
