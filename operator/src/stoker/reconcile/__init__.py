"""The control shell: a keyed queue, and one pass that looks, decides and carries out."""
