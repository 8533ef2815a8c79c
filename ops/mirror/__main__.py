"""`python -m ops.mirror`, the same as `make mirror`."""

from __future__ import annotations

import sys

from ops.console import run_reporting
from ops.mirror.cli import main

sys.exit(run_reporting(main))
