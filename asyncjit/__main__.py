"""`python -m asyncjit` is the command line."""

from asyncjit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
