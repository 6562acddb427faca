# SPDX-License-Identifier: Apache-2.0
"""Makes the package of perf/ importable from its tests, and makes results to test with."""
import os, sys

PERF = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PERF)


def row(engine, seconds, link="10g", outcome="completed", **more):
    base = {"link": link, "engine": engine, "outcome": outcome, "machine": {}, "pages": {}, "streams": 2}
    if outcome == "completed":
        base |= {"seconds": seconds, "activeSeconds": seconds, "cpuSource": seconds, "cpuDestination": 0.5,
                 "wireBytes": 1000}
    return base | more


def result(rows, yardsticks=None, expectations=(), memory=1 << 30, **scenario):
    from harness import stats
    yardsticks = yardsticks or {}
    return {
        "schema": 1,
        "machine": {"cpu": "A", "cpus": 2, "architecture": "x86_64", "congestion": "cubic", "commit": "c", "qemu": [],
                    "memoryBytes": 1 << 34, "kernel": "6", "transparentHugePages": "madvise", "pageferry": "0"},
        "scenario": {"name": "s", "title": "t", "kind": "paused", "content": "x", "memoryBytes": memory} | scenario,
        "links": {}, "yardsticks": yardsticks, "summary": stats.summarize(rows, yardsticks, memory),
        "expectations": stats.judge(expectations, rows, yardsticks, memory), "rows": rows,
    }
