"""`python -m armlite` is the command `armlite`."""

from armlite.cli import main

if __name__ == "__main__":
    main()
