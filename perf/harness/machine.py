# SPDX-License-Identifier: Apache-2.0
"""What the host is, and what it is doing: processor time of processes and of the whole machine, warm memory."""
import os, platform, subprocess, sys, time

from . import ROOT

TICK = os.sysconf("SC_CLK_TCK")
# Touches and frees: the hypervisor below a virtual machine may have taken the memory that nobody used for a while, and
# the first touch of it can be ten times slower than the second. Huge pages, because it is quicker.
PREWARM = """
import mmap, sys
size = int(sys.argv[1])
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
memory[::4096] = b"\\1" * (size // 4096)
"""


# What both ends take besides the guest's memory, codecs that remember what they sent above all, and as much again: the pages
# that the kernel then gives away are not always those that were touched last.
BESIDES = 4 << 30


def prewarm(byte_count):
    subprocess.run([sys.executable, "-c", PREWARM, str((byte_count + BESIDES) & ~4095)], check=True)


def read_once(path):
    """Into the page cache: disks are not measured here."""
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 22)
        while file.readinto(buffer):
            pass


def process_seconds(pid):
    """Processor time of a process of ours that has not been waited for, user and system, in ns resolution."""
    # The kernel's clock id of another process: its number inverted, and CPUCLOCK_SCHED (2).
    return time.clock_gettime((~pid << 3) | 2)


class MachineTime:
    """Seconds of all CPUs together since it was made, by /proc/stat."""

    NAMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")

    def __init__(self):
        self.start = self._now()

    def _now(self):
        with open("/proc/stat") as file:
            return [int(word) / TICK for word in file.readline().split()[1:9]]

    def stop(self):
        used = dict(zip(self.NAMES, (b - a for a, b in zip(self.start, self._now()))))
        return {
            "user": round(used["user"] + used["nice"], 2), "system": round(used["system"], 2),
            "softirq": round(used["irq"] + used["softirq"], 2), "idle": round(used["idle"] + used["iowait"], 2),
            "steal": round(used["steal"], 2),
        }


def first_line(path, default=""):
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return default


def chosen(path):
    """`madvise` of `always [madvise] never`."""
    line = first_line(path)
    return line.partition("[")[2].partition("]")[0] or line


def git_commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def describe():
    """The machine, as far as figures depend on it."""
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) << 10
    return {
        "cpu": model, "cpus": os.cpu_count(), "architecture": platform.machine(), "kernel": platform.release(),
        "memoryBytes": memory, "transparentHugePages": chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        "nodes": len([n for n in os.listdir("/sys/devices/system/node") if n.startswith("node")])
        if os.path.isdir("/sys/devices/system/node") else 1,
    }
