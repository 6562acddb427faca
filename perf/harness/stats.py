# SPDX-License-Identifier: Apache-2.0
"""From samples to medians, and to ratios of one run. Lone seconds mean nothing on another day."""
import fnmatch, statistics

GIB = 1 << 30
# Whether a smaller ratio is the better one.
SMALLER_IS_BETTER = {"seconds": True, "cpu": True, "wire": True, "downtime": True, "iperf3": False,
                     "read-bandwidth": False}


def spread(values):
    return {"median": statistics.median(values), "minimum": min(values), "maximum": max(values)}


def cpu(row):
    if "cpuSource" not in row or "cpuDestination" not in row:
        return None
    return row["cpuSource"] + row["cpuDestination"]


FIGURES = {
    "seconds": lambda row: row.get("seconds"), "cpu": cpu, "wire": lambda row: row.get("wireBytes"),
    "downtime": lambda row: row.get("downtimeMilliseconds"),
}


def values(rows, figure):
    found = [FIGURES[figure](row) for row in rows if row["outcome"] == "completed"]
    return [value for value in found if value is not None]


def groups(rows):
    """Rows by (link, guest, engine), in the order in which each came first."""
    found = {}
    for row in rows:
        found.setdefault((row["link"], row.get("guest", ""), row["engine"]), []).append(row)
    return found


def best(grouped, link, guest, pattern, figure):
    """The engine of the smallest median among those that `pattern` matches and that always completed: (id, median)."""
    candidates = []
    for (at, of, engine), rows in grouped.items():
        if (at, of) == (link, guest) and fnmatch.fnmatch(engine, pattern):
            found = values(rows, figure)
            if found and len(found) == len(rows):
                candidates.append((statistics.median(found), engine))
    if not candidates:
        return None
    median, engine = min(candidates)
    return engine, median


def share(rows, yardsticks, link, byte_count):
    """What migrations reached of iperf3 with as many streams, and of the memory's read bandwidth: (name, values)."""
    result = {}
    streams = rows[0].get("streams")
    rates = yardsticks.get("iperf3", {}).get(link, {}).get(str(streams), [])
    done = [row for row in rows if row["outcome"] == "completed" and row.get("activeSeconds")]
    if rates and done:
        peer = statistics.median(rates)
        # Payload: pages that travelled whole, over the time in which pages travel.
        result["iperf3"] = [row["pages"].get("data", 0) * 4096 / row["activeSeconds"] / peer for row in done]
    reads = yardsticks.get("readBandwidth", [])
    if reads and done and byte_count:
        peer = statistics.median(reads)
        result["read-bandwidth"] = [byte_count / row["seconds"] / peer for row in done]
    return result


def first_touch(yardsticks):
    """Time of touching fresh huge pages by that of small ones, where both were touched in turns; None if they were not."""
    pairs = yardsticks.get("firstTouch", [])
    return spread([huge / small for huge, small in pairs]) if pairs else None


def summarize(rows, yardsticks, byte_count):
    """One entry for each link, guest and engine: medians, and ratios to the best QEMU and to the yardsticks."""
    grouped = groups(rows)
    result = []
    for (link, guest, engine), group in grouped.items():
        entry = {"link": link, "engine": engine, "samples": len(group),
                 "completed": sum(row["outcome"] == "completed" for row in group)}
        if guest:
            entry["guest"] = guest
        entry["figures"] = {figure: spread(found) for figure in FIGURES if (found := values(group, figure))}
        ratios = {}
        for figure in ("seconds", "cpu", "wire"):
            found = values(group, figure)
            peer = best(grouped, link, guest, "qemu-*", figure)
            if found and peer and peer[1]:
                ratios[figure] = spread([value / peer[1] for value in found]) | {"to": peer[0]}
        others = [statistics.median(found) for (at, of, other), more in grouped.items() if (found := values(more, "seconds"))
                  and (at, of) == (link, guest) and other != engine and other.startswith("pageferry/")]
        if others and engine.startswith("pageferry/") and values(group, "seconds"):
            ratios["of-others"] = spread([value / min(others) for value in values(group, "seconds")])
        # Guests that run have no QEMU beside them: what the link alone would take is their measure.
        for name, found in share(group, yardsticks, link, byte_count).items():
            ratios[name] = spread(found)
        link_rates = [rate for rates in yardsticks.get("iperf3", {}).get(link, {}).values() for rate in rates]
        found = values(group, "seconds")
        if found and guest and link_rates and byte_count:
            alone = byte_count / statistics.median(link_rates)
            ratios["of-link"] = spread([value / alone for value in found]) | {"to": "all memory by iperf3"}
        entry["ratios"] = ratios
        result.append(entry)
    return result


def limit_of(entry, link):
    """The bound of an expectation for a link, and which kind it is; None if it has none for this link."""
    kind = "at_most" if "at_most" in entry else "at_least"
    bound = entry[kind]
    bound = bound.get(link) if isinstance(bound, dict) else bound
    return (kind, bound) if bound is not None else None


def judge(expectations, rows, yardsticks, byte_count):
    """Each expectation for each link that was run: met, not met, or not measured."""
    grouped = groups(rows)
    verdicts = []
    for entry in expectations:
        for link, guest in dict.fromkeys((at, of) for at, of, _ in grouped):
            bound = limit_of(entry, link)
            if bound is None:
                continue
            ratio, of, to = measured(entry, grouped, link, guest, yardsticks, byte_count)
            if ratio is None:
                verdict = "not measured"
            else:
                verdict = "met" if (ratio <= bound[1] if bound[0] == "at_most" else ratio >= bound[1]) else "NOT MET"
            verdicts.append({"link": link, "guest": guest, "figure": entry["figure"], "engine": of, "against": to,
                             bound[0]: bound[1], "ratio": ratio, "verdict": verdict})
    return verdicts


def measured(entry, grouped, link, guest, yardsticks, byte_count):
    """(ratio, engine, against) of an expectation; the ratio is None if one of the two was not measured."""
    figure, pattern, against = entry["figure"], entry.get("engine", "pageferry/*"), entry.get("against", "qemu-*")
    if figure in FIGURES:
        ours, peer = (best(grouped, link, guest, p, figure) for p in (pattern, against))
        if not ours or not peer or not peer[1]:
            return None, ours[0] if ours else pattern, peer[0] if peer else against
        return ours[1] / peer[1], ours[0], peer[0]
    if figure == "first-touch":
        ratio = first_touch(yardsticks)
        return ratio and ratio["median"], "huge pages", "small pages"
    found = []
    for (at, of, engine), rows in grouped.items():
        if (at, of) == (link, guest) and fnmatch.fnmatch(engine, pattern):
            reached = share(rows, yardsticks, link, byte_count).get(figure)
            if reached:
                found.append((statistics.median(reached), engine))
    return (*max(found), figure) if found else (None, pattern, figure)
