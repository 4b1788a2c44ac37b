"""Make every model that is missing, and print the folder that holds them."""

import sys

from e2e.engine import print_built
from e2e.models import ensure_models

if __name__ == "__main__":
    sys.exit(print_built(ensure_models))
