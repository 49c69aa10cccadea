"""`python -m aligngen` is the same program as the `aligngen` command."""

from aligngen.cli.app import main

if __name__ == "__main__":
    main()
