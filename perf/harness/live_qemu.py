# SPDX-License-Identifier: Apache-2.0
"""A Linux guest that runs and checks itself, migrated by stock QEMU: by itself, or through what stands between the two."""
import contextlib, functools, os, tempfile, time

from . import HarnessError, live_guest
from .content import byte_count
from .machine import MachineTime, prewarm, process_seconds
from .pageferry import End
from .qemu import PORT
from .sample import Sample

# Seconds between two looks at QEMU; passes at the destination that prove the guest, and how long they may take.
INTERVAL = 0.1
PROOF_PASSES, PROOF_LIMIT = 3, 60
# Seconds over which the guest's own rate is measured beforehand.
RATE_SECONDS = 2


@functools.cache
def accelerator(binary, folder):
    return live_guest.Guest(binary, folder, 128, 1, 0, 1).choose_accelerator()


def make(binary, wanted):
    """The guest of a scenario's [guest]."""
    folder = live_guest.build()
    return live_guest.Guest(
        binary, folder, wanted["byte_count"] >> 20, byte_count(wanted.get("working-set", "128MiB")) >> 20,
        byte_count(wanted.get("still", "0MiB")) >> 20, int(wanted.get("rate", 0) * 1e6 / 4096),
        accelerator(binary, folder), wanted.get("pattern", "sparse") == "sparse")


def migrate(engine, link, wanted, watch):
    guest = make(engine.binary, wanted)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pageferry-perf."))
        source = guest.boot(folder, link.source())
        stack.callback(source.stop)
        destination = guest.wait(folder, link.destination())
        stack.callback(destination.stop)
        parameters = engine.parameters | {"downtime-limit": wanted.get("downtime-limit", 300)}
        for machine in (source, destination):
            machine.configure(engine.capabilities, parameters)
        incoming = outgoing = f"tcp:{link.address}:{PORT}"
        helpers = []
        if engine.is_between:
            incoming, outgoing = (os.path.join(folder, name) for name in ("in", "out"))
            for words, ready in engine.helpers(link, outgoing, incoming):
                helpers.append(End(words))
                stack.callback(helpers[-1].stop)
                if not helpers[-1].error.wait_for(ready, 30):
                    raise HarnessError(f"{engine.name}: a helper did not start: {helpers[-1].error.all()[-300:]}")
            incoming, outgoing = "unix:" + incoming, "unix:" + outgoing
        destination.command("migrate-incoming", uri=incoming)
        prewarm(2 * wanted["byte_count"])
        rate = dirtied(guest, source)
        return Run(engine, link, guest, source, destination, helpers).go(outgoing, wanted["limit"], watch, rate)


def dirtied(guest, machine):
    """MB a second that it rewrites, by its own account."""
    def pages():
        passes = machine.console.last()[0]
        return time.monotonic(), passes * guest.working * 256
    guest.reaches(machine, machine.console.last()[0] + 1, 30)
    (began, first), number = pages(), machine.console.last()[0]
    time.sleep(RATE_SECONDS)
    guest.reaches(machine, max(number, machine.console.last()[0]) + 1, 30)
    ended, last = pages()
    return (last - first) * 4096e-6 / (ended - began)


class Run:
    """From `migrate` until the guest has proved itself."""

    def __init__(self, engine, link, guest, source, destination, helpers):
        self.engine, self.link, self.guest = engine, link, guest
        self.source, self.destination, self.helpers = source, destination, helpers
        self.peak = 0

    def go(self, address, limit, watch, rate):
        wire, machine_time = self.link.sent(), MachineTime()
        watch.begin(self.source.pid, self.destination.pid)
        start = time.monotonic()
        self.source.command("migrate", uri=address)
        told, expected = {}, None
        while told.get("status") not in ("completed", "failed"):
            time.sleep(INTERVAL)
            self._look()
            told = self.source.command("query-migrate")
            expected = told.get("expected-downtime", expected)
            if time.monotonic() - start > limit and told.get("status") == "active":
                self.source.command("migrate_cancel")
                watch.end()
                return Sample(outcome="not converged", wireBytes=self.link.sent() - wire, machine=machine_time.stop(),
                              details={"dirtied": round(rate, 1), "expectedDowntime": expected,
                                       "iterations": told["ram"]["dirty-sync-count"]})
        watch.end()
        used, wall = machine_time.stop(), time.monotonic() - start
        if told["status"] != "completed":
            return Sample(outcome=f"failed: {told.get('error-desc', 'QEMU does not say why')}")
        sample = Sample(
            seconds=told["total-time"] / 1e3, activeSeconds=told["total-time"] / 1e3, wallSeconds=round(wall, 4),
            downtimeMilliseconds=told["downtime"], wireBytes=self.link.sent() - wire, machine=used,
            pages={"zero": told["ram"]["duplicate"], "data": told["ram"]["normal"]},
            details={"dirtied": round(rate, 1), "expectedDowntime": expected,
                     "iterations": told["ram"]["dirty-sync-count"]})
        self._prove()
        for helper in self.helpers:
            if not helper.wait(30):
                raise HarnessError(f"{self.engine.name}: a helper does not end")
        if self.engine.pair:
            report = self.helpers[1].last_object()[0]
            sample.details |= {"residentSource": self.peak, "highestWindow": report["highestWindowBytes"]}
        return sample

    def _look(self):
        """The most memory that the source's half has held."""
        if not self.engine.pair:
            return
        with contextlib.suppress(OSError), open(f"/proc/{self.helpers[1].process.pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    self.peak = max(self.peak, int(line.split()[1]) << 10)

    def _prove(self):
        left = self.source.console.last()
        if not self.guest.reaches(self.destination, left[0] + PROOF_PASSES, PROOF_LIMIT):
            raise HarnessError("the guest does not go on at the destination")
        bad = self.destination.console.last()[2]
        if bad:
            raise HarnessError(f"the guest is damaged: {bad} of the pages that it has checked")
