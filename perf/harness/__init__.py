# SPDX-License-Identifier: Apache-2.0
"""Moves guests over shaped links, PageFerry and stock QEMU in turns. perf/run, perf/profile and perf/placement use it."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCENARIOS = os.path.join(ROOT, "perf/scenarios")
CACHE = os.environ.get("PAGEFERRY_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pageferry")


class HarnessError(Exception):
    """What the user can do something about: one line, printed without a traceback."""
