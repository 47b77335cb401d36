"""Extras that README's command does not install: without them their tests are skipped.

Where the variable DP_TESTED_EXTRAS names such extras, the run fails at once if one is missing.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

#: The library of each extra, which its tests begin with: ``pytest.importorskip(library)``.
LIBRARIES = {"delta": "deltalake", "ray": "ray", "redis": "redis"}


def check_extras() -> None:
    """Raise unless the extras that have to be tested are installed."""
    for extra in os.environ.get("DP_TESTED_EXTRAS", "").split():
        if find_spec(LIBRARIES[extra]) is None:
            raise pytest.UsageError(
                f"{LIBRARIES[extra]} is not installed: pip install 'dp_async[{extra}]'"
            )
