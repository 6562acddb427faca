# SPDX-License-Identifier: Apache-2.0
"""What one migration by one engine showed. The same fields, counted the same way, whoever the engine is."""
from dataclasses import asdict, dataclass, field


@dataclass
class Sample:
    # `completed`; `not converged`; or `failed: …`.
    outcome: str = "completed"
    # By the engine's own clock: QEMU's total-time, the sum of the phases in PageFerry's report.
    seconds: float | None = None
    # From the start of the migration until both ends have said that it is over, by the harness's clock.
    wallSeconds: float | None = None
    # Phases that move memory, without set-up and commit; for comparisons with iperf3, which counts no set-up either.
    activeSeconds: float | None = None
    downtimeMilliseconds: float | None = None
    # Counted on the device, both engines alike: with all headers, and what TCP sent twice.
    wireBytes: int | None = None
    # Processor time of each process from the start of the migration on: not of starting it or loading its memory.
    cpuSource: float | None = None
    cpuDestination: float | None = None
    # Seconds of all CPUs meanwhile: what the kernel does for nobody (softirq) and what neighbours took (steal).
    machine: dict = field(default_factory=dict)
    pages: dict = field(default_factory=dict)
    # What only one of the engines, or only some migrations, have.
    details: dict = field(default_factory=dict)

    @property
    def completed(self):
        return self.outcome == "completed"

    @property
    def cpuSeconds(self):
        if self.cpuSource is None or self.cpuDestination is None:
            return None
        return self.cpuSource + self.cpuDestination

    def row(self, **more):
        return more | {key: value for key, value in asdict(self).items() if value not in (None, {})}


class Watch:
    """Is told when a migration begins and ends. perf/profile and perf/placement look at processes meanwhile."""

    def begin(self, source, destination):
        """The process ids of both ends. Called before the first byte where the harness starts the migration itself,
        else as soon as the two have met."""

    def end(self):
        pass
