"""python -m servoir: the command line without its script."""

import sys

from servoir.cli import main

if __name__ == "__main__":
    sys.exit(main())
