# SPDX-License-Identifier: Apache-2.0
"""Samples of perf(1): recorded while a migration runs, read as stacks, and sorted into kinds of work."""
import collections, os, re, select, shutil, subprocess

from . import HarnessError
from .sample import Watch

# This kind of machine often has no hardware counters; the timer always works.
EVENT = ["-e", "cpu-clock", "-F", "4999"]
HEADER = re.compile(r"^(\S.*?)\s+(\d+)/(\d+)\s*$")
FRAME = re.compile(r"^\s+([0-9a-f]+)\s+(.*?)(?:\s+\(([^()]*)\))?\s*$")
IDLE = re.compile(r"idle|safe_halt|mwait|hlt")
# In this order; the first that matches. `leaf` looks at the innermost frame alone.
KERNEL = (
    ("clearing pages", False, re.compile(r"clear_(page|huge|folio|user_highpage|subpage)")),
    ("copying", True, re.compile(r"copy_user|_copy_(to|from)_iter|copyin|copyout|rep_movs|memcpy|copy_(mc|page|folio)")),
    ("page faults and mappings", False,
     re.compile(r"page_fault|mm_fault|anonymous|populate|madvise|mmap|munmap|unmap_|userfaultfd|pagemap|flush_tlb")),
    ("TCP and devices", False, re.compile(r"tcp_|inet|sock_|skb|net_rx|net_tx|dev_queue|tbf_|veth|__sys_(send|recv)|ip_")),
    ("reading files", False, re.compile(r"vfs_read|filemap|pread")),
    ("scheduling and waiting", False, re.compile(r"schedul|futex|poll|wake_up|nanosleep|sched_")),
)


def need_perf():
    if not shutil.which("perf"):
        raise HarnessError("no perf here: apt-get install linux-perf")


class Stack(collections.namedtuple("Stack", "thread pid frames kernel")):
    """One sample: `frames` from the outermost to the innermost; `kernel` is how many of the innermost are the kernel's."""

    @property
    def leaf(self):
        return self.frames[-1] if self.frames else "?"

    def kind(self):
        if not self.kernel:
            return "user"
        inside = self.frames[-self.kernel:]
        for name, leaf_only, pattern in KERNEL:
            if any(pattern.search(frame) for frame in (inside[-1:] if leaf_only else inside)):
                return name
        return "other kernel"


def numbered(thread):
    """Threads of one kind together: pf-lane-0 and pf-lane-1 are pf-lane-*."""
    return re.sub(r"\d+$", "*", thread)


def named(symbol, library):
    """A function that has no name is called by its library: `[libzstd.so.1]`."""
    if symbol not in ("", "[unknown]"):
        return symbol
    return "[unknown]" if not library or library.startswith("[") else f"[{os.path.basename(library)}]"


def parse(text):
    """Stacks of the output of `perf script -F comm,pid,tid,ip,sym,dso`."""
    thread, pid, frames, kernel = None, 0, [], 0
    for line in [*text.splitlines(), ""]:
        if frame := FRAME.match(line):
            frames.append(named(frame.group(2), frame.group(3)))
            kernel += frame.group(1).startswith("ffff") and len(frame.group(1)) == 16
        elif header := HEADER.match(line):
            thread, pid = header.group(1), int(header.group(2))
        elif not line.strip() and thread is not None:
            if frames:
                yield Stack(thread, pid, outermost(frames[::-1]), kernel)
            thread, frames, kernel = None, [], 0


def outermost(frames):
    """Without the frames before a thread's first function, which unwinding makes up, by the hundred."""
    first = next((number for number, frame in enumerate(frames) if frame != "[unknown]"), len(frames) - 1)
    return tuple(frames[first:])


def is_idle(stack):
    return stack.pid == 0 and any(IDLE.search(frame) for frame in stack.frames)


def demangle(stacks):
    """Swift's symbols as a person writes them, without argument lists."""
    names = sorted({frame for stack in stacks for frame in stack.frames if frame.startswith("$s")})
    tool = shutil.which("swift")
    if not names or not tool:
        return stacks
    done = subprocess.run([tool, "demangle", "--simplified", "--compact"], input="\n".join(names) + "\n",
                          capture_output=True, text=True)
    readable = dict(zip(names, (short(line) for line in done.stdout.splitlines())))
    return [stack._replace(frames=tuple(readable.get(frame, frame) for frame in stack.frames)) for stack in stacks]


def short(symbol):
    """`closure #1 in LaneSource.run()` of a long generic signature."""
    symbol = re.sub(r"^(generic |function signature |specialized |partial apply |merged |@objc |thunk for |of |\w+ <.*?> )+",
                    "", symbol)
    while (shorter := re.sub(r"\([^()]*\)|<[^<>]*>", "", symbol)) != symbol:
        symbol = shorter
    return re.sub(r"\s*(throws\S*)?\s*->.*$", "", symbol).strip() or "?"


def read(path):
    done = subprocess.run(["perf", "script", "-i", path, "-F", "comm,pid,tid,ip,sym,dso"], capture_output=True, text=True,
                          errors="replace")
    if done.returncode:
        raise HarnessError(f"perf script: {done.stderr.strip()[-300:]}")
    return demangle(list(parse(done.stdout)))


class Recorder(Watch):
    """Samples the whole machine while one migration runs. Of several, each takes its own: while perf is paused it does not
    see what processes map, and could not name their functions."""

    def __init__(self, folder, graph):
        need_perf()
        self.data = os.path.join(folder, "perf.data")
        self.pipes = [os.path.join(folder, name) for name in ("control", "answer")]
        for pipe in self.pipes:
            os.mkfifo(pipe)
        self.process = subprocess.Popen(
            ["perf", "record", "-q", "-o", self.data, *EVENT, "--call-graph", graph, "-a", "-D", "-1",
             "--control", f"fifo:{self.pipes[0]},{self.pipes[1]}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.source = self.destination = None
        # Read and write: opening never blocks, whatever perf does.
        self.control, self.answer = (os.open(pipe, os.O_RDWR) for pipe in self.pipes)

    def _tell(self, word):
        if self.process.poll() is not None:
            raise HarnessError(f"perf record: {self.process.stderr.read().decode().strip()[-300:]}")
        os.write(self.control, word.encode() + b"\n")
        if not select.select([self.answer], [], [], 10)[0]:
            raise HarnessError("perf record does not answer")
        os.read(self.answer, 16)

    def begin(self, source, destination):
        self.source, self.destination = source, destination
        self._tell("enable")

    def end(self):
        self._tell("disable")

    def finish(self):
        """The stacks by end: `source`, `destination`, `other`."""
        self._tell("stop")
        self.process.wait()
        ends = {self.source: "source", self.destination: "destination"}
        found = {"source": [], "destination": [], "other": []}
        for stack in read(self.data):
            if not is_idle(stack):
                found[ends.get(stack.pid, "other")].append(stack)
        return found

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        for pipe in (self.control, self.answer):
            os.close(pipe)


def record(command, path, graph):
    """Samples a command and its children, to the file `path`. Returns its exit code."""
    need_perf()
    return subprocess.run(["perf", "record", "-q", "-o", path, *EVENT, "--call-graph", graph, "--", *command]).returncode
