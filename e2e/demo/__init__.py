"""The main job, from nothing to a service that is left running, with each time measured.

`python -m e2e.demo` is what `make demo` calls. Who is who: `steps` (what is done, in order),
`reach` (how a client here gets to a service), `paired` (what the frontend adds to a request),
`report` (the table at the end, and the words when something fails).
"""
