"""Model caches: what one pass over a `ModelCache` decides. Pure, like `plan`.

    refuse?  →  resolve  →  claim  →  fetch  →  verify, when due  →  status, events
                                        └► on one volume (`shared`), or on each node (`nodes`)

A pass knows what it saw (`model.cache`) and what the status says (`memory`), and nothing else: an
operator that was just started goes on where another one stopped. A Job's word is first written into
the status, and only the next pass removes the Job, so no word is ever lost.
"""
