"""Command line entry point for `python -m qengine`."""

import sys

from qengine.cli import main

sys.exit(main())
