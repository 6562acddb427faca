# SPDX-License-Identifier: Apache-2.0
"""Compares two files of perf/run by ratios of their own runs: never by seconds, which another day changes."""
import json

from . import HarnessError
from .stats import SMALLER_IS_BETTER

# `of-link` is a time, too. Not compared: `of-others`, which gets worse when another configuration gets better.
SMALLER = SMALLER_IS_BETTER | {"of-link": True}


def load(path):
    try:
        with open(path) as file:
            result = json.load(file)
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: {error}") from error
    if not isinstance(result, dict) or result.get("schema") != 1 or not isinstance(result.get("summary"), list):
        raise HarnessError(f"{path} is no file of perf/run")
    return result


def mismatch(old, new, any_machine):
    """Why the two cannot be compared; None if they can."""
    for key in ("name", "kind", "content", "memoryBytes", "isResident"):
        if old["scenario"].get(key) != new["scenario"].get(key):
            return f"{key} differs: {old['scenario'].get(key)} and {new['scenario'].get(key)}"
    for key in () if any_machine else ("cpu", "cpus", "architecture"):
        if old["machine"].get(key) != new["machine"].get(key):
            return f"{key} differs: {old['machine'].get(key)} and {new['machine'].get(key)} (--any-machine compares anyway)"
    if old["machine"].get("congestion") != new["machine"].get("congestion"):
        return f"congestion differs: {old['machine'].get('congestion')} and {new['machine'].get('congestion')}"
    return None


def key(entry):
    return entry["link"], entry.get("guest", ""), entry["engine"]


def verdict(old, new, smaller, tolerance):
    """`worse`, `better`, `same`, or `within noise`: beyond the tolerance, but the ranges of both runs overlap."""
    if not old["median"] or not new["median"]:
        return "same" if old["median"] == new["median"] else "not comparable"
    change = new["median"] / old["median"]
    if not smaller:
        change = 1 / change
    if 1 / (1 + tolerance) <= change <= 1 + tolerance:
        return "same"
    if new["minimum"] <= old["maximum"] and old["minimum"] <= new["maximum"]:
        return "within noise"
    return "worse" if change > 1 else "better"


def compare(old, new, tolerance):
    """Rows of (key, ratio's name, old median, new median, verdict), for PageFerry's configurations that are in both; and
    what stopped converging or completing."""
    before = {key(entry): entry for entry in old["summary"]}
    rows = []
    for entry in new["summary"]:
        past = before.get(key(entry))
        if not past or not entry["engine"].startswith("pageferry/"):
            continue
        done = [e["completed"] / e["samples"] for e in (past, entry)]
        if done[1] < done[0]:
            rows.append((key(entry), "completed", done[0], done[1], "worse" if done[1] == 0 or done[0] == 1 else "same"))
        for name, ratio in entry["ratios"].items():
            if name in past["ratios"] and name in SMALLER:
                found = verdict(past["ratios"][name], ratio, SMALLER[name], tolerance)
                rows.append((key(entry), name, past["ratios"][name]["median"], ratio["median"], found))
    return rows
