"""Build the engine's site-packages folder if it is missing, and print where it is."""

import sys

from e2e.engine import ensure_site_packages, print_built

if __name__ == "__main__":
    sys.exit(print_built(ensure_site_packages))
