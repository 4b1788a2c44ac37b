"""Build the engine's site-packages folder if it is missing, and print where it is."""

import sys

from e2e.engine import EngineBuildError, ensure_site_packages


def main() -> int:
    try:
        print(ensure_site_packages())
    except EngineBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
