"""The command line: one command a verb, in the order of the story."""

from snndeploy.cli.commands import main

__all__ = ["main"]
