"""`python3 -m stoker_worker`."""

from stoker_worker.cli import main

raise SystemExit(main())
