"""The values that pass between layers: frozen, typed, printable."""
