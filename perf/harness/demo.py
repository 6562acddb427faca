# SPDX-License-Identifier: Apache-2.0
"""`scripts/demo --qemu`: a Linux guest that works is migrated between two stock QEMUs over a slow link, straight and through a
pair of `pageferry proxy`; it says itself whether it has arrived undamaged."""
import argparse, contextlib, os, shutil, socket, tempfile, time

from . import HarnessError, cli, live_guest
from .links import Link, NOMINAL
from .pageferry import End, command as pageferry_command
from .qemu import Binary, PORT, configuration
from .screen import Screen, failed, outcome, table

# Seconds between two looks at QEMU; passes at the destination that prove the guest; how long they may take.
INTERVAL = 0.5
PROOF_PASSES, PROOF_LIMIT = 5, 40
DOWNTIME_LIMIT = 300


class NoLink:
    """Without root: everything on this host, and who sends keeps to the rate by himself."""

    address = "127.0.0.1"

    def __init__(self, name):
        self.bytes_per_second = int(NOMINAL[name] * 1e9 / 8)

    def source(self, *words):
        return list(words)

    destination = source

    def sent(self):
        return None

    def free_port(self):
        with socket.socket() as probe:
            probe.bind((self.address, 0))
            return probe.getsockname()[1]


class ShapedLink(Link):
    bytes_per_second = None

    def free_port(self):
        return PORT


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/demo --qemu", description="Migrates a Linux guest that rewrites its memory from one stock QEMU to "
        "another, straight and through a pair of 'pageferry proxy', and shows both beside each other. The guest checks each "
        "of its pages: bad=0 and going on at the destination is the proof. With root the two QEMUs are in network namespaces "
        "with a shaped link between them; without, the sender keeps to the link's rate by itself.")
    parser.add_argument("--link", choices=list(NOMINAL), default="100m", help="the link's rate (default: 100m)")
    parser.add_argument("--memory", type=whole(64, 65536), default=256, metavar="MIB", help="of the guest (256)")
    parser.add_argument("--working", type=whole(1, 16384), default=32, metavar="MIB",
                        help="what it rewrites over and over (32)")
    parser.add_argument("--still", type=whole(0, 65536), default=96, metavar="MIB", help="what it has besides, and checks (96)")
    parser.add_argument("--rate", type=whole(1, 1000000), default=6000, metavar="PAGES",
                        help="how many pages it rewrites a second (6000, which is 25 MB/s)")
    parser.add_argument("--limit", type=whole(1, 600), default=30, metavar="SECONDS",
                        help="after which a migration that does not end is given up (30)")
    parser.add_argument("--against", type=cli.words, default=["none", "xbzrle"], metavar="WAYS",
                        help="QEMU's own ways to compare with: none, xbzrle, multifd-CHANNELS-none|zstd|zlib "
                        "(none,xbzrle); '' for only the pair")
    parser.add_argument("--codec", default="auto", help="of the pair (auto)")
    parser.add_argument("--accel", choices=["auto", "kvm", "tcg"], default="auto")
    parser.add_argument("--qemu", default=os.environ.get("PAGEFERRY_QEMU") or "qemu-system-x86_64", metavar="PATH",
                        help="another QEMU (also $PAGEFERRY_QEMU); may be followed by words, such as -L DIR")
    options = parser.parse_args()
    if options.working + options.still + 64 > options.memory:
        parser.error("--memory has to be 64 MiB more than --working and --still together")
    for way in options.against:
        configuration(way)
    return options


def whole(least, most):
    def check(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a whole number from {least} to {most}")
        return int(text)
    return check


class Trial:
    """One migration of a freshly booted guest. `way` is QEMU's configuration, or None for the pair."""

    def __init__(self, options, guest, link, screen, way):
        self.options, self.guest, self.link, self.screen, self.way = options, guest, link, screen, way
        self.title = "through the pair" if way is None else "QEMU alone" + ("" if way == "none" else f", {way}")
        self.stack = contextlib.ExitStack()

    def run(self):
        self.screen.heading(self.title)
        with self.stack:
            self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="pageferry-demo."))
            source = self.guest.boot(self.folder, self.link.source())
            self.stack.callback(source.stop)
            destination = self.guest.wait(self.folder, self.link.destination())
            self.stack.callback(destination.stop)
            incoming, outgoing = self._ways()
            capabilities, parameters = configuration(self.way or "none")
            parameters |= {"downtime-limit": DOWNTIME_LIMIT}
            if "xbzrle-cache-size" in parameters:
                # QEMU takes no more than the guest has, and a power of two.
                parameters["xbzrle-cache-size"] = (1 << self.options.memory.bit_length() - 2) << 20
            if self.way is not None and self.link.bytes_per_second:
                parameters |= {"max-bandwidth": self.link.bytes_per_second}
            for machine in (source, destination):
                machine.configure([*capabilities, "return-path"], parameters)
            destination.command("migrate-incoming", uri=incoming)
            result = self._migrate(source, destination, outgoing)
        self.screen.say(outcome(result))
        return result

    def _ways(self):
        """Where the destination listens and where the source connects."""
        self.pair = []
        if self.way is not None:
            address = f"tcp:{self.link.address}:{self.link.free_port()}"
            return address, address
        incoming, outgoing = (os.path.join(self.folder, name) for name in ("in", "out"))
        between = f"{self.link.address}:{self.link.free_port()}"
        limit = ["--bandwidth", f"{self.link.bytes_per_second}B"] if self.link.bytes_per_second else []
        for words in (
            self.link.destination(pageferry_command(), "proxy", "destination", "--listen", between, "--insecure",
                                  "--connect", f"unix:{incoming}", "--json"),
            self.link.source(pageferry_command(), "proxy", "source", "--listen", f"unix:{outgoing}", "--to", between,
                             "--codec", self.options.codec, "--json", *limit)):
            end = End(["setpriv", "--pdeathsig", "KILL", *words])
            self.stack.callback(end.stop)
            self.pair.append(end)
            if not end.error.wait_for("waiting for", 30):
                raise HarnessError(f"a proxy did not start: {end.error.all()[-300:]}")
        return f"unix:{incoming}", f"unix:{outgoing}"

    def _migrate(self, source, destination, address):
        wire, before = self.link.sent(), source.console.last()
        start = time.monotonic()
        source.command("migrate", uri=address)
        told, expected = {}, None
        while told.get("status") not in ("completed", "failed"):
            time.sleep(INTERVAL)
            told = source.command("query-migrate")
            expected = told.get("expected-downtime", expected)
            sent = self._since(wire)
            shown = destination if destination.console.passes() else source
            self.screen.show(time.monotonic() - start, told, sent, shown.console.last(), shown is destination)
            if time.monotonic() - start > self.options.limit and told.get("status") == "active":
                return self._give_up(source, told, wire, before, expected)
        self.screen.keep()
        result = self._figures(told, self._since(wire), before, expected) | {"converged": told["status"] == "completed"}
        if not result["converged"]:
            return result | {"failure": self._reason(told)}
        return result | self._proof(source, destination) | self._pair_report()

    def _figures(self, told, sent, before, expected):
        ram = told.get("ram", {})
        return {"title": self.title, "seconds": told.get("total-time", 0) / 1e3, "downtime": told.get("downtime"),
                "expected": expected, "wire": ram.get("transferred") if sent is None else sent,
                "iterations": ram.get("dirty-sync-count"), "before": before}

    def _give_up(self, source, told, wire, before, expected):
        """Cancels it; its guest has to go on where it is."""
        self.screen.keep()
        sent = self._since(wire)
        source.command("migrate_cancel")
        now = source.console.last()[0]
        self.guest.reaches(source, now + 2, PROOF_LIMIT)
        return self._figures(told, sent, before, expected) | {
            "converged": False, "limit": self.options.limit, "after": source.console.last(), "atSource": True}

    def _since(self, wire):
        return None if wire is None else self.link.sent() - wire

    def _reason(self, told):
        for end in self.pair:
            end.wait(10)
            for line in reversed(end.error.lines):
                if "failed" in line:
                    return line.strip()
        return told.get("error-desc", "QEMU does not say why")

    def _proof(self, source, destination):
        """The guest at the destination has to go on counting from where it was."""
        left = source.console.last()[0]
        self.guest.reaches(destination, left + PROOF_PASSES, PROOF_LIMIT)
        passes = destination.console.passes()
        return {"left": left, "first": passes[0][0] if passes else 0, "after": destination.console.last()}

    def _pair_report(self):
        if not self.pair:
            return {}
        for end in self.pair:
            if not end.wait(30):
                raise HarnessError("a proxy does not end")
        report = self.pair[1].last_object()[0]
        wire = {} if self.link.sent() is not None else {"wire": report["wireBytes"]}
        return {"pair": report, "isDirect": self.pair[0].last_object()[0]["mode"] == "direct"} | wire


def make_link(stack, name, note):
    """A link of that rate, as far as this user may make one."""
    try:
        link = stack.enter_context(ShapedLink())
        link.choose(name)
        note(f"link       {name}, shaped, between two network namespaces")
        return link
    except (HarnessError, FileNotFoundError) as error:
        note(f"link       {name}, by the sender's own limit on this host (no shaped link: {error})")
        return NoLink(name)


def main():
    options = parse()
    screen = Screen()
    if not shutil.which(options.qemu.split()[0]):
        raise HarnessError("no QEMU here: scripts/setup --with-qemu")
    binary = Binary(options.qemu)
    guest = live_guest.Guest(binary, live_guest.build(), options.memory, options.working, options.still, options.rate,
                             options.accel)
    screen.note(f"QEMU       {binary.description}, "
                + ("KVM" if guest.choose_accelerator() == "kvm" else "emulating: KVM does not run guests here"))
    screen.note(f"guest      Linux, {options.memory} MiB, {options.working + options.still} of them in use; rewrites "
                f"{options.rate} pages ({options.rate * 4096 / 1e6:.0f} MB) a second")
    screen.note(f"           within {options.working} MiB, and checks every page before it does")
    with contextlib.ExitStack() as stack:
        link = make_link(stack, options.link, screen.note)
        results = [Trial(options, guest, link, screen, way).run() for way in [*options.against, None]]
    screen.say(table(results))
    return 1 if failed(results[-1]) else 0


if __name__ == "__main__":
    cli.guarded("demo", main)
