# SPDX-License-Identifier: Apache-2.0
"""Which threads were on which CPU while a migration ran, by looking at /proc again and again."""
import collections, glob, os, re, threading

from .sample import Watch
from .stacks import numbered


class Seen:
    """What was seen of one thread."""

    def __init__(self, name):
        self.name = name
        self.cpus = collections.Counter()  # Samples in which it had run since the one before, by CPU.
        self.nanoseconds = self.voluntary = self.involuntary = 0


def processor(stat):
    """Field 39 of /proc/PID/task/TID/stat: the CPU that it last ran on. The name before it may hold anything."""
    return int(stat[stat.rindex(")") + 2:].split()[36])


def switches(status):
    return tuple(int(re.search(rf"^{kind}_ctxt_switches:\s+(\d+)", status, re.M).group(1))
                 for kind in ("voluntary", "nonvoluntary"))


def text(path):
    with open(path) as file:
        return file.read()


class Sampler(Watch):
    """Looks every `interval` seconds, from the beginning of a migration to its end. It takes some CPU itself."""

    def __init__(self, interval):
        self.interval = interval
        self.ends = {}
        self.before = {}
        self.thread = None
        self.stopped = threading.Event()

    def begin(self, source, destination):
        self.pids = {"source": source, "destination": destination}
        self.ends = {end: {} for end in self.pids}
        self._look()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def end(self):
        self.stopped.set()
        self.thread.join()
        self._look()  # What ran since its last turn, which may be long ago on a busy machine.

    def _run(self):
        while not self.stopped.wait(self.interval):
            self._look()

    def _look(self):
        for end, pid in self.pids.items():
            for task in glob.glob(f"/proc/{pid}/task/[0-9]*"):
                try:
                    self._look_at(end, task)
                except OSError:
                    pass  # It has just ended; what was seen of it counts.

    def _look_at(self, end, task):
        stat = text(f"{task}/stat")
        ran = int(text(f"{task}/schedstat").split()[0])
        voluntary, involuntary = switches(text(f"{task}/status"))
        name = stat[stat.index("(") + 1:stat.rindex(")")]
        seen = self.ends[end].setdefault(task, Seen(name))
        if task not in self.before:
            # Threads that were there before the migration: what they did until then is not its.
            self.before[task] = (0, 0, 0) if self.thread else (ran, voluntary, involuntary)
        past = self.before[task]
        if ran - past[0] > seen.nanoseconds:
            seen.cpus[processor(stat)] += 1
        seen.name = name
        seen.nanoseconds, seen.voluntary, seen.involuntary = ran - past[0], voluntary - past[1], involuntary - past[2]


def table(ends):
    """Lines: per end, threads of one kind together."""
    for end, seen in ends.items():
        yield f"{end}"
        yield f"  {'thread':16} {'n':>3}  {'CPU s':>7}  {'switches: own':>13} {'forced':>7}  CPUs (share of samples)"
        kinds = collections.defaultdict(list)
        for thread in seen.values():
            kinds[numbered(thread.name)].append(thread)
        for name, group in sorted(kinds.items(), key=lambda item: -sum(t.nanoseconds for t in item[1])):
            cpus = sum((thread.cpus for thread in group), collections.Counter())
            total = sum(cpus.values())
            where = ", ".join(f"{cpu}: {100 * count / total:.0f} %" for cpu, count in sorted(cpus.items())) or "did not run"
            yield (f"  {name:16} {len(group):3}  {sum(t.nanoseconds for t in group) / 1e9:7.3f}  "
                   f"{sum(t.voluntary for t in group):13} {sum(t.involuntary for t in group):7}  {where}")


def nodes(root="/sys/devices/system/node"):
    """Lines: each NUMA node, its CPUs, memory and distances."""
    found = sorted(glob.glob(os.path.join(root, "node[0-9]*")), key=lambda path: int(path.rsplit("node", 1)[1]))
    if not found:
        yield "no NUMA nodes in /sys: one node"
    for node in found:
        meminfo = text(os.path.join(node, "meminfo"))
        total, free = (int(re.search(rf"{key}:\s+(\d+)", meminfo).group(1)) / (1 << 20) for key in ("MemTotal", "MemFree"))
        yield (f"{os.path.basename(node)}: CPUs {text(os.path.join(node, 'cpulist')).strip() or 'none'}, "
               f"{total:.1f} GiB ({free:.1f} free), distances {text(os.path.join(node, 'distance')).strip()}")
