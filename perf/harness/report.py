# SPDX-License-Identifier: Apache-2.0
"""A run as tables, and as a file of every single sample."""
import json, os, statistics

from .stats import GIB, first_touch

COLUMNS = (
    ("engine", "<26"), ("n", "<6"), ("total s (min – max)", "<24"), ("x best QEMU", ">11"), ("of iperf3", ">9"),
    ("wire MB", ">8"), ("CPU s src", ">9"), ("dst", ">6"), ("/GiB", ">6"), ("downtime ms", ">11"),
    ("steal s", ">7"), ("", "<1"),
)


def line(values):
    return "  ".join(f"{value:{form}}" for value, (_, form) in zip(values, COLUMNS)).rstrip()


def number(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"


def median(rows, take):
    found = [value for row in rows if (value := take(row)) is not None]
    return statistics.median(found) if found else None


def machine_line(machine):
    qemu = ", ".join(machine["qemu"]) or "none"
    return (f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['memoryBytes'] / GIB:.0f} GiB, Linux {machine['kernel']}, "
            f"THP {machine['transparentHugePages']}; {machine['congestion']}; PageFerry {machine['pageferry']} "
            f"({machine['commit']}); QEMU: {qemu}")


def table(result):
    """The lines of a run's report."""
    scenario = result["scenario"]
    size = scenario["memoryBytes"]
    yield f"== {scenario['name']}: {scenario['title']} ({scenario['content']})"
    yield machine_line(result["machine"])
    if reads := result["yardsticks"].get("readBandwidth"):
        yield f"memory read by all CPUs: {statistics.median(reads) / 1e9:.1f} GB/s ({min(reads) / 1e9:.1f} – {max(reads) / 1e9:.1f})"
    if ratio := first_touch(result["yardsticks"]):
        huge, small = (statistics.median(times) for times in zip(*result["yardsticks"]["firstTouch"]))
        yield (f"first touch of {min(size, GIB) / GIB:g} GiB, one thread: {huge:.3f} s in huge pages, {small:.3f} s in small; "
               f"{ratio['median']:.2f} ({ratio['minimum']:.2f} – {ratio['maximum']:.2f})")
    seen = None
    for entry in result["summary"]:
        at = (entry["link"], entry.get("guest", ""))
        if at != seen:
            yield from head(result, *at)
            seen = at
        rows = [row for row in result["rows"]
                if (row["link"], row.get("guest", ""), row["engine"]) == (*at, entry["engine"])]
        yield line(cells(entry, rows, size))
        if entry["completed"] < entry["samples"]:
            for outcome in dict.fromkeys(row["outcome"] for row in rows if row["outcome"] != "completed"):
                yield f"    {outcome}"
    if result["expectations"]:
        yield ""
        yield from verdicts(result["expectations"])


def head(result, link, guest):
    yield ""
    yield f"-- {link}: {result['links'].get(link, '')}{'; ' + guest if guest else ''}"
    for streams, rates in result["yardsticks"].get("iperf3", {}).get(link, {}).items():
        yield (f"   iperf3 -P {streams} in these rounds: {statistics.median(rates) / 1e9:.3f} GB/s "
               f"({min(rates) / 1e9:.3f} – {max(rates) / 1e9:.3f})")
    yield line([name for name, _ in COLUMNS])


def cells(entry, rows, size):
    figures, ratios = entry["figures"], entry["ratios"]
    done = [row for row in rows if row["outcome"] == "completed"]
    count = f"{entry['completed']}" if entry["completed"] == entry["samples"] else f"{entry['completed']} of {entry['samples']}"
    total = figures.get("seconds")
    cpu, wire, downtime = figures.get("cpu"), figures.get("wire"), figures.get("downtime")
    return [
        entry["engine"], count,
        f"{total['median']:.3f} ({total['minimum']:.3f} – {total['maximum']:.3f})" if total else "no",
        number(ratios.get("seconds", {}).get("median"), 3), number(ratios.get("iperf3", {}).get("median")),
        number(wire["median"] / 1e6 if wire else None, 1),
        number(median(done, lambda row: row.get("cpuSource"))), number(median(done, lambda row: row.get("cpuDestination"))),
        number(cpu["median"] / (size / GIB) if cpu else None),
        f"{downtime['median']:.1f}" + (f" ({downtime['maximum']:.1f})" if entry["samples"] > 1 else "") if downtime else "–",
        number(median(rows, lambda row: row.get("machine", {}).get("steal"))), remarks(entry, rows),
    ]


def remarks(entry, rows):
    """What the columns have no room for, of the last sample."""
    last = rows[-1]
    words = [f"{count} {kind}" for kind, count in last.get("pages", {}).items() if count]
    details = last.get("details", {})
    if "iterations" in details:
        words.append(f"{details['iterations']} iterations")
    codecs = details.get("codecs", {})
    if len(codecs) > 1:
        words.append("by " + ", ".join(f"{codec} {pages}" for codec, pages in codecs.items() if pages))
        words.append(f"{details['changes']} changes")
    words += overhead(last)
    for name, word in (("read-bandwidth", "of the read bandwidth"), ("of-link", "x the link's time"),
                       ("of-others", "x the best other")):
        if name in entry["ratios"]:
            words.append(f"{entry['ratios'][name]['median']:.2f} {word}")
    return ", ".join(words)


def overhead(row):
    """What is not page data, if nothing was compressed, for each zero page that was looked at: an upper bound."""
    details, zeros = row.get("details", {}), row.get("pages", {}).get("zero")
    if list(details.get("codecs", {})) not in ([], ["none"]) or "payloadBytes" not in details or not zeros:
        return []
    if "delta" in row["pages"]:
        return []
    return [f"{(details['payloadBytes'] - row['pages'].get('data', 0) * 4096) / zeros:.2f} B a zero page"]


def verdicts(expectations):
    for entry in expectations:
        kind = "at_most" if "at_most" in entry else "at_least"
        at = entry["link"] + (f", {entry['guest']}" if entry["guest"] else "")
        yield (f"{entry['verdict']:12}  {at}: {entry['figure']} of {entry['engine']} against {entry['against']}: "
               f"{number(entry['ratio'], 3)} ({kind.replace('_', ' ')} {entry[kind]})")


def write(result, path):
    """One sample a line, so that a change of one shows as such."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as out:
        out.write("{\n")
        for number, (key, value) in enumerate(result.items()):
            out.write(",\n" if number else "")
            if isinstance(value, list):
                body = ",\n".join("  " + json.dumps(item) for item in value)
                out.write(f'"{key}": [\n{body}\n]')
            else:
                out.write(f'"{key}": {json.dumps(value)}')
        out.write("\n}\n")
