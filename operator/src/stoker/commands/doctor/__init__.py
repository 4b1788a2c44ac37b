"""`stoker doctor`: the first broken link between an object and its first token, and the fix.

    look (the only part that asks)  →  World (one frozen value)  →  checks, in order  →  links
    a service that answers          →  Figures (measured)        →  advice and what bounds it

Whoever may read little learns less, and is told which right would tell more: each part of a `World`
is what was read, `Absent`, or `Denied` with the right that it takes.
"""
