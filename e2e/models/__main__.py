"""Make every model that is missing, and print the folder that holds them."""

import sys

from e2e.engine import EngineBuildError
from e2e.models import ensure_models


def main() -> int:
    try:
        print(ensure_models())
    except EngineBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
