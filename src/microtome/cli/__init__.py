"""The command line: one module for each command."""

from microtome.cli.main import main

__all__ = ["main"]
