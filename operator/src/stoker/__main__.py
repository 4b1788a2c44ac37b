"""`python -m stoker`."""

from stoker.cli import main

if __name__ == "__main__":
    main()
