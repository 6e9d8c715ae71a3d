"""Puts the classics where Python finds them when one of them is run: in the first folder of the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "classics"))
