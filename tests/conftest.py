"""Stands here so that pytest puts this folder on the import path: tests share the helper modules beside it.

Tests neither read nor fill the cache of the person who runs them; programs compiled by one test serve the others.

Property tests run the same examples every time (`HYPOTHESIS_PROFILE=explore` draws new ones, ten times as many).
"""

import os
import tempfile

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("repeatable", max_examples=40, derandomize=True, database=None, **_COMMON)
settings.register_profile("explore", max_examples=400, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

_CACHE = tempfile.TemporaryDirectory(prefix="gemma-tool-use-tests-")
os.environ["GEMMA_TOOL_USE_CACHE"] = _CACHE.name
