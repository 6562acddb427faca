# SPDX-License-Identifier: Apache-2.0
"""PageFerry's ends: `send` and `receive --discard` for paused guests, `demo` for guests that run."""
import functools, json, os, signal, subprocess, threading, time

from . import HarnessError, ROOT
from .machine import MachineTime, prewarm, read_once
from .sample import Sample

# Seconds for one migration of a paused guest.
TIME_LIMIT = 180
DEFAULT_CHANNELS = 2


def command():
    """The release build, or $PAGEFERRY."""
    path = os.environ.get("PAGEFERRY") or os.path.join(ROOT, ".build/release/pageferry")
    if not os.access(path, os.X_OK):
        raise HarnessError("no release build: swift build -c release")
    return path


@functools.cache
def version(path):
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()


@functools.cache
def offers(path, *words):
    """Whether `--help` of a subcommand mentions its last word."""
    done = subprocess.run([path, *words[:-1], "--help"], capture_output=True, text=True)
    return words[-1] in done.stdout


class Lines(threading.Thread):
    """The lines of a pipe as they come."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.lines = pipe, []
        self.changed = threading.Condition()
        self.ended = False
        self.start()

    def run(self):
        for line in self.pipe:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, text, seconds):
        """The first line that holds `text`; None if the pipe ends or time runs out before."""
        found = lambda: next((line for line in self.lines if text in line), None)
        with self.changed:
            self.changed.wait_for(lambda: found() or self.ended, seconds)
            return found()

    def all(self):
        self.join()
        return "\n".join(self.lines)


class End:
    """One process of a migration."""

    def __init__(self, words):
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.out, self.error = Lines(self.process.stdout), Lines(self.process.stderr)

    def wait(self, seconds):
        try:
            self.process.wait(max(0.0, seconds))
            return True
        except subprocess.TimeoutExpired:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def last_object(self):
        """The last JSON value of its output: one that fills all of it, or the last line."""
        text = self.out.all()
        try:
            return json.loads(text if text.startswith(("{\n", "[\n")) else text.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise HarnessError(f"no report: {self.error.all()[-300:]}") from error


class PageFerry:
    """One configuration. `options` are codec, channels, workers, cache, and `send` and `receive`: words for one end."""

    def __init__(self, name, options):
        self.name, self.options = name, options
        self.id = f"pageferry/{name}"
        self.streams = options.get("channels", DEFAULT_CHANNELS)
        self.command = command()

    def words(self):
        options = self.options
        words = ["--codec", options.get("codec", "auto"), "--channels", str(self.streams)]
        if "workers" in options:
            words += ["--workers", str(options["workers"])]
        return words

    def run(self, link, content, watch):
        size = content.byte_count
        read_once(content.path)
        prewarm(2 * size)
        resident = ["--resident"] if offers(self.command, "send", "--resident") else []
        return self._migrate(
            link, watch, TIME_LIMIT, ("{", "{"),
            [self.command, "receive", "--discard", "--listen", f"{link.address}:0", "--insecure", "--json",
             *self.options.get("receive", [])],
            lambda address: [self.command, "send", content.path, address, *self.words(), "--json", "--quiet", *resident,
                             *self.options.get("send", [])])

    def run_live(self, link, guest, watch):
        """A guest of the demo, whose threads write; `guest` is the scenario's [guest]."""
        prewarm(3 * guest["byte_count"])
        words = []
        for key in ("memory", "pattern", "rate", "working-set", "threads", "mix", "compressibility",
                    "downtime-limit"):
            if key in guest:
                words += [f"--{key}", str(guest[key])]
        if "cache" in self.options:
            words += ["--delta-cache", self.options["cache"]]
        return self._migrate(
            link, watch, guest["limit"], ('"report"', '"proof"'),
            [self.command, "demo", "--listen", f"{link.address}:0", "--insecure", "--json", "--settle", "0.3",
             *self.options.get("receive", [])],
            lambda address: [self.command, "demo", "--to", address, "--json", "--quiet", *words, *self.words(),
                             *self.options.get("send", [])])

    def _wait(self, source, destination, limit, marks):
        """Until both have printed a line with their mark, or ended without."""
        if not source.out.wait_for(marks[0], limit) and not source.out.ended:
            source.process.send_signal(signal.SIGTERM)
        for end, mark in zip((source, destination), marks):
            if not end.out.wait_for(mark, 60) and not end.out.ended:
                raise HarnessError("a process neither goes on nor ends")

    def _migrate(self, link, watch, limit, marks, receive, send):
        destination = End(link.destination(*receive))
        source = None
        try:
            line = destination.error.wait_for("waiting for", 30)
            if not line:
                raise HarnessError(f"the receiver did not start: {destination.error.all()[-300:]}")
            wire = link.sent()
            source = End(link.source(*send(line.split(" on ")[-1].strip())))
            # The two have met: a sender has filled its memory before it looks for a receiver.
            if not destination.error.wait_for("session ", 120):
                source.stop()
                raise HarnessError(f"the two did not meet: {source.error.all()[-300:]}")
            start, machine_time = time.monotonic(), MachineTime()
            watch.begin(source.process.pid, destination.process.pid)
            self._wait(source, destination, limit, marks)
            watch.end()
            used, wall = machine_time.stop(), time.monotonic() - start
            # Freeing the guest's memory is no part of the migration; QEMU's is not counted either.
            for end in (source, destination):
                if not end.wait(60):
                    raise HarnessError("a process does not end")
            return self._sample(source, destination, wall, used, link.sent() - wire)
        finally:
            for end in (source, destination):
                if end:
                    end.stop()

    def _sample(self, source, destination, wall, used, wire):
        last = source.last_object()
        report = last.get("report", last)
        if report["outcome"] != "completed":
            reason = report.get("failure", {}).get("reason", "")
            outcome = "not converged" if report["outcome"] == "cancelled" else f"failed: {reason}"
            live = report.get("live") or {}
            return Sample(outcome=outcome, wireBytes=wire, machine=used, pages=pages(report),
                          details={"iterations": len(live.get("iterations", []))})
        other = destination.last_object()
        details = {
            "changes": report["codec"]["changes"],
            "codecs": {use["codec"]: use["pages"] + use["bypassedPages"] for use in report["codec"]["uses"]},
            "payloadBytes": report["bytes"]["wire"], "seconds": report["seconds"],
            "residentSource": report["resources"]["peakResidentBytes"],
        }
        live = report.get("live")
        if live:
            proof = other["proof"]
            if not proof["isSound"]:
                raise HarnessError(f"{self.id}: the guest is damaged: {proof['faults']}")
            details |= {"iterations": len(live["iterations"]), "longestGapMilliseconds": proof["longestGapMilliseconds"]}
            details |= {key: live[key] for key in ("expectedDowntime", "meanThrottle", "highestThrottle") if key in live}
            if verdict := first_verdict(source.out.lines):
                details["verdict"] = verdict
        # The demo's receiver runs the guest, and compares it: its processor time is not the migration's.
        if not live:
            details["residentDestination"] = other["resources"]["peakResidentBytes"]
        destination_cpu = (None if live else
                           round(other["resources"]["cpuSeconds"], 4))
        downtime = live["downtime"]["milliseconds"] if live else None
        return Sample(
            seconds=round(sum(report["seconds"].values()), 6), activeSeconds=report["seconds"]["active"],
            wallSeconds=round(wall, 4), downtimeMilliseconds=downtime,
            wireBytes=wire, cpuSource=round(report["resources"]["cpuSeconds"], 4),
            cpuDestination=destination_cpu, machine=used,
            pages=pages(report), details=details)


def first_verdict(lines):
    """What the first statistics say that call the migration one that cannot converge, and in which iteration."""
    for line in lines:
        now = json.loads(line) if line.startswith('{"') else {}
        said = now.get("convergence") or {}
        if said.get("verdict") == "cannot-converge":
            return said | {"iteration": now["iteration"]["iteration"], "seconds": now["total-time"] / 1000}
    return None


def pages(report):
    return {kind: count for kind, count in report["pages"].items() if count and kind != "total"}
