# SPDX-License-Identifier: Apache-2.0
"""Runs a scenario: every configuration in turns (A B A B …), on each link."""
import contextlib, fcntl, fnmatch, shutil, sys

from . import HarnessError, content, links, machine, pageferry, stats, yardstick
from .qemu import Binary, QEMU
from .sample import Sample, Watch


def note(text):
    print(text, file=sys.stderr, flush=True)


def binaries(text):
    """The QEMUs of `PATH,PATH…`, or the one in PATH; says so where there is none."""
    if text is None and not shutil.which("qemu-system-x86_64"):
        note("NO QEMU HERE (apt-get install qemu-system-x86, or --qemu PATH): SKIPPED, THERE IS NO PEER")
        return []
    found = [Binary(part.strip()) for part in (text or "qemu-system-x86_64").split(",") if part.strip()]
    for binary in found:
        note(f"QEMU {binary.description}: {binary.words[0]}")
    return found


def engines(scenario, peers, patterns):
    """(engine, rounds) in their order; `patterns` choose by id, such as `pageferry/*` or `qemu-7*`."""
    everything = [(pageferry.PageFerry(e.name, e.options), e.rounds) for e in scenario.engines]
    everything += [(QEMU(binary, name), rounds) for name, rounds in scenario.qemu for binary in peers]
    chosen = [(engine, rounds) for engine, rounds in everything
              if not patterns or any(fnmatch.fnmatch(engine.id, pattern) for pattern in patterns)]
    if not chosen:
        raise HarnessError(f"{scenario.name}: no configuration matches; there are "
                           + ", ".join(engine.id for engine, _ in everything))
    return chosen


@contextlib.contextmanager
def turn(path):
    """Holds a lock on a file for one sample, for hosts on which others measure too."""
    if not path:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Session:
    def __init__(self, link, peers, options):
        self.link, self.peers, self.options = link, peers, options

    def run(self, scenario, save=lambda result: None):
        """All that is known of a scenario after it was run. `save` gets what there is after each round."""
        chosen = engines(scenario, self.peers, self.options.engines)
        image = content.make(scenario.content, note) if scenario.kind == "paused" else None
        rounds = self.options.rounds
        chosen = [(engine, min(rounds, of) if rounds and of < scenario.rounds else rounds or of) for engine, of in chosen]
        result = {
            "schema": 1,
            "machine": machine.describe() | {
                "qemu": [binary.description for binary in self.peers], "congestion": self.link.congestion,
                "pageferry": pageferry.version(pageferry.command()), "commit": machine.git_commit()},
            "scenario": {
                "name": scenario.name, "title": scenario.title, "kind": scenario.kind,
                "content": image.description if image else describe(scenario.guests[0]),
                "memoryBytes": image.byte_count if image else scenario.guests[0]["byte_count"],
                "rounds": max(of for _, of in chosen), "isResident": bool(image) and pageferry.offers(
                    pageferry.command(), "send", "--resident")},
            "links": {}, "yardsticks": {"iperf3": {}, "readBandwidth": [], "firstTouch": []},
            "summary": [], "expectations": [], "rows": [],
        }
        size = result["scenario"]["memoryBytes"]
        for name in self.options.links or scenario.links:
            self._check(name, result)
            for guest in scenario.guests or [None]:
                for _ in self._rounds(scenario, name, chosen, image, guest, result):
                    result["summary"] = stats.summarize(result["rows"], result["yardsticks"], size)
                    result["expectations"] = stats.judge(scenario.expectations, result["rows"], result["yardsticks"], size)
                    save(result)
        return result

    def _check(self, name, result):
        """Shapes the link, and says what this host reaches on it."""
        self.link.choose(name)
        if not shutil.which("iperf3"):
            note("NO iperf3 HERE (apt-get install iperf3): what the link reaches is not known")
            return
        with turn(self.options.lock):
            said, reached = yardstick.reached(name, yardstick.iperf(self.link, 2))
        result["links"][name] = said
        if not reached:
            note(f"{name}: {said}")

    def _rounds(self, scenario, name, chosen, image, guest, result):
        """Yields after each round: one that is ended by a signal leaves the rounds before it."""
        for round in range(max(of for _, of in chosen)):
            for engine, of in chosen:
                if round >= of:
                    continue
                with turn(self.options.lock):
                    sample = self.once(engine, image, guest)
                more = {"guest": label(guest)} if guest else {}
                row = sample.row(link=name, round=round, engine=engine.id, streams=engine.streams, **more)
                result["rows"].append(row)
                said = f"{sample.seconds:.3f} s" if sample.completed else sample.outcome
                note(f"{scenario.name}  {name}  {label(guest)}  round {round + 1}  {engine.id}  {said}")
            if round == 0 or scenario.kind == "paused":
                self._yardsticks(scenario, name, result)
            yield round

    def _yardsticks(self, scenario, name, result):
        with turn(self.options.lock):
            for streams in scenario.iperf_streams:
                rates = result["yardsticks"]["iperf3"].setdefault(name, {}).setdefault(str(streams), [])
                rates.append(yardstick.iperf(self.link, streams))
            if scenario.read_bandwidth:
                size = min(result["scenario"]["memoryBytes"], 4 << 30)
                machine.prewarm(size)
                result["yardsticks"]["readBandwidth"].append(yardstick.memory_read(size))
            if scenario.first_touch:
                size = min(result["scenario"]["memoryBytes"], 1 << 30)
                machine.prewarm(size)
                result["yardsticks"]["firstTouch"].append(yardstick.first_touch(size))

    def once(self, engine, image, guest, watch=None):
        """One sample. What goes wrong is one, too: nothing is left out silently."""
        watch = watch or Watch()
        try:
            return engine.run_live(self.link, guest, watch) if guest else engine.run(self.link, image, watch)
        except HarnessError as error:
            return Sample(outcome=f"failed: {error}")


def label(guest):
    if not guest:
        return ""
    return f"{guest['rate']} MB/s" if "rate" in guest else guest.get("pattern", "")


def describe(guest):
    return ", ".join(f"{key} {value}" for key, value in guest.items() if key not in ("byte_count", "rate", "limit"))
