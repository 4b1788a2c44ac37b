"""What a scaling policy would have done to a service, computed ahead of any cluster.

`trace` and `synthetic` give arrivals, `service` and `starts` say what a replica is and how it comes
up, `policy` what a policy is; `run.simulate` moves them all in one discrete-event loop, and
`result` says what came of it. `docs/simulator.md` has the whole picture.
"""
