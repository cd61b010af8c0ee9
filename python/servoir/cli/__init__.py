"""The command line `servoir COMMAND …`.

Each command is a module with `add(subcommands)`, which describes its arguments and sets `run`, a function from the
parsed arguments to the exit status. A RuntimeError is printed on stderr without a traceback, with exit status 1; wrong
arguments give 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from servoir import standard_streams
from servoir.cli import doctor, encrypt

_COMMANDS = (doctor, encrypt)


def main(arguments: Sequence[str] | None = None) -> int:
    """`arguments` None: those of the process."""
    parser = argparse.ArgumentParser(prog="servoir", description="Tools for a Servoir model server.")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(subcommands)
    parsed = parser.parse_args(arguments)
    standard_streams.take_descriptors()
    try:
        status: int = parsed.run(parsed)
    except RuntimeError as error:
        print(f"servoir: {error}", file=sys.stderr)
        return 1
    return status
