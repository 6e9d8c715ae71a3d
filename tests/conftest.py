"""Hypothesis profiles: `default`, and `thorough`, which draws 50 times as many; HYPOTHESIS_PROFILE chooses."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_USUAL = 15
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}

settings.register_profile("default", max_examples=_USUAL, derandomize="CI" in os.environ, database=None, **_COMMON)
settings.register_profile("thorough", max_examples=50 * _USUAL, derandomize="CI" in os.environ, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
