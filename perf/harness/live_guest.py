# SPDX-License-Identifier: Apache-2.0
"""A small Linux guest that rewrites its memory and checks itself (perf/guest/build-live), under QEMU."""
import os, re, subprocess, tempfile, time

from . import HarnessError, ROOT
from .qemu import Machine

# A KVM that runs it has it say something in less than one second. Some hosts have a /dev/kvm that never does.
KVM_PROBE = 5
# Seconds until it is at work, also where it is emulated and the host busy.
BOOT_LIMIT = 120
PASS = re.compile(r"guest: pass (\d+) checked (\d+) bad=(\d+)\r?\n")


def build():
    """The folder of the guest, which is made if it is not there."""
    done = subprocess.run([os.path.join(ROOT, "perf/guest/build-live"), "--path"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise HarnessError("there is no guest to migrate")
    return done.stdout.strip()


class Console:
    """What a guest has said on its serial line."""

    def __init__(self, path):
        self.path = path

    def text(self):
        try:
            with open(self.path, encoding="latin1") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def passes(self):
        """(number, pages checked so far, of these bad) of each pass."""
        return [tuple(map(int, found)) for found in PASS.findall(self.text())]

    def last(self):
        """The last of them; zeros before the first."""
        return (self.passes() or [(0, 0, 0)])[-1]


class Guest:
    """What is run: sizes in MiB, `rate` in pages a second; `sparse`: of each page only a few words change."""

    def __init__(self, binary, folder, memory, working, still, rate, accelerator="auto", sparse=False):
        self.binary, self.folder, self.accelerator = binary, folder, accelerator
        self.working, self.still, self.rate, self.sparse = working, still, rate, sparse
        # Below a multiple of 256 KiB: QEMU before 9.0 without KVM loses writes of a guest that it migrates otherwise.
        self.kibibytes = memory * 1024 - 8

    def _machine(self, folder, name, prefix, words, accelerator):
        with open(os.path.join(self.folder, "append")) as file:
            kernel = file.read().split()
        kernel += [f"working={self.working}", f"still={self.still}", f"rate={self.rate}", f"sparse={int(self.sparse)}"]
        console = Console(os.path.join(folder, name + ".console"))
        machine = Machine(self.binary, [
            *(["-cpu", "host"] if accelerator == "kvm" else []), "-no-reboot", "-m", f"{self.kibibytes}K", "-machine",
            "pc,memory-backend=ram0", "-object", f"memory-backend-memfd,id=ram0,size={self.kibibytes}K,share=on",
            "-kernel", os.path.join(self.folder, "vmlinuz"), "-initrd", os.path.join(self.folder, "initrd"), "-append",
            " ".join(kernel), "-serial", f"file:{console.path}", *words], folder, name,
            # Nothing is left behind, however this program ends.
            ["setpriv", "--pdeathsig", "KILL", *prefix], accelerator, paused=False)
        machine.console = console
        return machine

    def choose_accelerator(self):
        """KVM where it runs this guest, or else emulation; once, before the first `boot`."""
        if self.accelerator == "auto":
            self.accelerator = "kvm" if os.access("/dev/kvm", os.W_OK) and self._runs_with_kvm() else "tcg"
        return self.accelerator

    def _runs_with_kvm(self):
        with tempfile.TemporaryDirectory(prefix="pageferry-kvm.") as folder:
            try:
                machine = self._machine(folder, "probe", [], [], "kvm")
            except HarnessError:
                return False  # It has ended at once.
            try:
                deadline = time.monotonic() + KVM_PROBE
                while not machine.console.text() and machine.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                return bool(machine.console.text())
            finally:
                machine.stop()

    def boot(self, folder, prefix):
        """A guest that is at work."""
        machine = self._machine(folder, "source", prefix, [], self.accelerator)
        if not self.reaches(machine, 2, BOOT_LIMIT):
            said = machine.console.text().strip()[-300:]
            machine.stop()
            raise HarnessError(f"the guest was not at work after {BOOT_LIMIT} s; its last words: {said or 'none'}")
        return machine

    def wait(self, folder, prefix):
        """A QEMU with the same machine that waits for it."""
        return self._machine(folder, "destination", prefix, ["-incoming", "defer"], self.accelerator)

    @staticmethod
    def reaches(machine, number, seconds):
        """Whether a guest comes to that pass in time; waits for it."""
        deadline = time.monotonic() + seconds
        while machine.console.last()[0] < number:
            if machine.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True
