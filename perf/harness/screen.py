# SPDX-License-Identifier: Apache-2.0
"""What scripts/demo --qemu shows: a line that goes on while a guest is migrated, and what came of it as a table."""
import shutil, sys

# Without a terminal, and of those that stay on one: seconds between two lines.
KEEP_INTERVAL = 2
HEADING = (f"{'':>8} {'':>6} {'QEMU says':>42}   {'on the wire':>25}   the guest says\n"
           f"{'time':>8} {'round':>6} {'left':>12} {'sends':>12} {'downtime':>16}   {'so far':>11} {'now':>13}")


def mebibytes(count):
    return "-" if count is None else f"{count / 1048576:.1f} MiB"


def milliseconds(count):
    return "-" if count is None else f"{count:,} ms".replace(",", " ")


class Screen:
    def __init__(self, out=sys.stdout):
        self.out = out
        self.terminal = out.isatty()
        self.line, self.kept_at, self.last = "", None, None

    def say(self, text):
        print(text, file=self.out, flush=True)

    def note(self, text):
        self.say(f"  {text}")

    def heading(self, title):
        self.line, self.kept_at, self.last = "", None, None
        self.say(f"\n== {title}")

    def show(self, seconds, told, sent, console, has_arrived):
        """One look at a migration: QEMU's own figures, the link's, the guest's."""
        if self.kept_at is None:
            self.say(HEADING)
            self.kept_at = 0
        ram = told.get("ram", {})
        rate = None
        if sent is not None and self.last:
            rate = (sent - self.last[1]) / max(0.001, seconds - self.last[0])
        self.last = (seconds, sent) if sent is not None else None
        downtime = (f"{milliseconds(told['downtime'])} real" if "downtime" in told
                    else f"{milliseconds(told.get('expected-downtime'))} expected" if "expected-downtime" in told else "-")
        sends = f"{ram['mbps'] / 8 * 1e6 / 1048576:.1f} MiB/s" if ram.get("mbps") else "-"
        self.line = (
            f"{seconds:6.1f} s {ram.get('dirty-sync-count', 0):6} {mebibytes(ram.get('remaining')):>12} {sends:>12} "
            f"{downtime:>16}   {mebibytes(sent):>11} {'-' if rate is None else mebibytes(rate) + '/s':>13}   "
            f"pass {console[0]}, bad={console[2]}{', at the destination' if has_arrived else ''}")
        if self.terminal:
            # A line that wraps could not be written over.
            self.out.write(f"\r{self.line[:shutil.get_terminal_size().columns - 1]}\x1b[K")
            self.out.flush()
        if seconds - self.kept_at >= KEEP_INTERVAL:
            self.keep()
            self.kept_at = seconds

    def keep(self):
        """The line that is shown stays."""
        if self.line:
            self.say("" if self.terminal else self.line)
        self.line = ""


def is_sound(result):
    return "after" in result and result["after"][2] == 0 and result["after"][0] > result.get("left", 0)


def failed(result):
    return not (result["converged"] and is_sound(result))


def outcome(result):
    """What came of a migration, in plain words."""
    if "failure" in result:
        return f"  it failed: {result['failure']}"
    if not result["converged"]:
        return (f"  it does not end: given up after {result['limit']} s; the guest goes on where it was "
                f"(pass {result['after'][0]}, bad={result['after'][2]})")
    lines = []
    if report := result.get("pair"):
        pages = report["pages"]
        kinds = (("whole", "data"), ("as a delta", "delta"), ("zero", "zero"), ("unchanged", "unchanged"),
                 ("overtaken before they were sent", "superseded"))
        lines.append(
            f"  the pair says: {mebibytes(report['streamBytes'])} of QEMU's stream as {mebibytes(report['wireBytes'])}"
            + (", straight into QEMU's memory" if result["isDirect"] else ""))
        lines.append("    pages: " + ", ".join(f"{pages[key]} {name}" for name, key in kinds if pages[key]))
    passes = result["after"][0] - result["left"]
    if not is_sound(result):
        return "\n".join([*lines, f"  THE GUEST IS DAMAGED: passes {passes} at the destination, bad={result['after'][2]}"])
    return "\n".join([*lines, f"  the guest goes on at the destination: its last pass at the source was {result['left']}, "
                      f"{passes} more since, bad=0"])


def table(results):
    width = max(24, *(len(result["title"]) for result in results)) + 2

    def row(name, cell):
        return f"{name:20}" + "".join(f"{cell(result):>{width}}" for result in results)

    def total(result):
        return f"{result['seconds']:.1f} s" if result["converged"] else f"not in {result['seconds']:.0f} s"

    def proof(result):
        if "after" not in result:
            return "-"
        where = "at the source" if result.get("atSource") else "arrived"
        return f"{where}, bad={result['after'][2]}"

    rows = [
        row("", lambda r: r["title"]),
        row("did it end?", lambda r: "yes" if r["converged"] else "no"),
        row("total time", total),
        row("downtime", lambda r: milliseconds(r["downtime"]) if r["converged"] else "-"),
        row("expected downtime", lambda r: milliseconds(r["expected"])),
        row("on the wire", lambda r: mebibytes(r["wire"])),
        row("rounds", lambda r: str(r["iterations"])),
        row("the guest", proof),
    ]
    return "\n" + "\n".join(rows)
