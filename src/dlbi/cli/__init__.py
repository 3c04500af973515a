"""The command line: thin commands over the functions that scripts call."""

from dlbi.cli.app import main

__all__ = ["main"]
