"""``python -m skyloom``."""

from __future__ import annotations

import sys

from skyloom.cli import main

sys.exit(main())
