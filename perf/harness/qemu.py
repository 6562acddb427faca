# SPDX-License-Identifier: Apache-2.0
"""Stock QEMU: its monitor, and as the peer two of them, with the same memory content, that never run a guest instruction."""
import json, os, re, shlex, shutil, socket, subprocess, tempfile, time

from . import HarnessError
from .pageferry import DEFAULT_CHANNELS, End, command as pageferry_command
from .machine import MachineTime, prewarm, process_seconds, read_once
from .sample import Sample

# 128 MiB/s by default, which would be the limit of every link here: bytes per second.
MAX_BANDWIDTH = 12_500_000_000
# Seconds for one migration.
TIME_LIMIT = 180
PORT = 7811


class Binary:
    """A QEMU: `PATH` or `PATH -L DIR …`, a copy unpacked outside /usr finds its own firmware."""

    def __init__(self, text):
        self.words = shlex.split(text)
        if not shutil.which(self.words[0]):
            raise HarnessError(f"no QEMU at {self.words[0]}")
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which(self.words[0]))))
        if prefix != "/usr" and "-L" not in self.words:
            for folder in ("share/qemu", "share/seabios"):
                if os.path.isdir(os.path.join(prefix, folder)):
                    self.words += ["-L", os.path.join(prefix, folder)]
        done = subprocess.run([*self.words, "--version"], capture_output=True, text=True)
        found = re.search(r"QEMU emulator version (\S+)", done.stdout)
        if not found:
            raise HarnessError(f"{self.words[0]} does not say its version: {done.stderr.strip()[:200]}")
        self.version = found.group(1)
        self.description = done.stdout.splitlines()[0].removeprefix("QEMU emulator version ")


def configuration(name):
    """Capabilities and parameters of `none`, `xbzrle`, `multifd-CHANNELS-none|zstd|zlib` (levels are 1), `socat`: `none`
    through a pair of those, or `pair-CODEC` and `pair-direct-CODEC`: through a proxy pair, the second into memory that is
    shared."""
    if name in ("none", "socat"):
        return [], {}
    if name.startswith("pair-"):
        return ["return-path"], {}
    if name == "xbzrle":
        return ["xbzrle"], {"xbzrle-cache-size": 512 << 20}
    found = re.fullmatch(r"multifd-(\d+)-(none|zstd|zlib)", name)
    if not found:
        raise HarnessError(f"QEMU configuration {name} is not none, xbzrle, socat, multifd-CHANNELS-none|zstd|zlib "
                           "or pair-[direct-]CODEC")
    return ["multifd"], {
        "multifd-channels": int(found.group(1)), "multifd-compression": found.group(2), "multifd-zlib-level": 1,
        "multifd-zstd-level": 1}


class Machine:
    """One QEMU process and its monitor."""

    def __init__(self, binary, words, folder, name, prefix, accelerator="tcg", paused=True):
        path = os.path.join(folder, name)
        self.log = open(path + ".log", "w+")
        self.process = subprocess.Popen(
            [*prefix, *binary.words, "-name", f"guest={name},debug-threads=on", "-accel", accelerator, "-smp",
             "1", "-nodefaults", "-display", "none", "-no-user-config", *(["-S"] if paused else []), "-qmp",
             f"unix:{path},server=on,wait=off", *words],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.monitor = self._connect(path)
            self.lines = self.monitor.makefile("r")
            self._receive()
            self.command("qmp_capabilities")
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self):
        return self.process.pid

    def _connect(self, path):
        deadline = time.monotonic() + 60
        while True:
            monitor = socket.socket(socket.AF_UNIX)
            try:
                monitor.connect(path)
                monitor.settimeout(TIME_LIMIT)
                return monitor
            except OSError as error:
                monitor.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.log.seek(0)
                    raise HarnessError(f"QEMU did not start: {self.log.read().strip()[-300:]}") from error
                time.sleep(0.02)

    def _receive(self):
        try:
            line = self.lines.readline()
        except TimeoutError as error:
            raise HarnessError(f"QEMU was silent for {TIME_LIMIT} s") from error
        except ConnectionResetError:
            line = ""
        if not line:
            self.log.seek(0)
            raise HarnessError(f"QEMU ended: {self.log.read().strip()[-300:]}")
        return json.loads(line)

    def command(self, name, **arguments):
        words = {"execute": name}
        if arguments:
            words["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            self.monitor.sendall(json.dumps(words).encode() + b"\n")
        except BrokenPipeError:
            pass  # It has ended, as reading will find.
        while True:
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise HarnessError(f"QEMU: {name}: {answer['error']['desc']}")

    def wait_for_end(self):
        """Until a MIGRATION event says how it ended; nothing is polled, which would take processor time."""
        while True:
            event = self._receive()
            if event.get("event") == "MIGRATION" and event["data"]["status"] in ("completed", "failed"):
                return event["data"]["status"]

    def configure(self, capabilities, parameters):
        states = [{"capability": name, "state": True} for name in (*capabilities, "events")]
        self.command("migrate-set-capabilities", capabilities=states)
        known = self.command("query-migrate-parameters")
        self.command("migrate-set-parameters", **{
            key: value for key, value in ({"max-bandwidth": MAX_BANDWIDTH} | parameters).items()
            if key in known or key.startswith("multifd-z")})

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def memory(byte_count):
    return ["-m", f"{byte_count >> 20}M", "-machine", "pc,memory-backend=ram0"]


# Ids of RAM blocks differ otherwise between a memory from a file and one that is not.
SAME_IDS = "x-use-canonical-path-for-ramblock-id=off"


class QEMU:
    """One configuration of one QEMU. The guest's memory is a private view of the image, copied before anything is timed
    (prealloc); the destination's is anonymous memory, as QEMU takes it by default."""

    def __init__(self, binary, name):
        self.binary, self.name = binary, name
        self.capabilities, self.parameters = configuration(name)
        self.id = f"qemu-{binary.version}/{name}"
        self.streams = self.parameters.get("multifd-channels", 1)
        self.pair = name.removeprefix("pair-") if name.startswith("pair-") else None
        # Whether something stands between the two.
        self.is_between = bool(self.pair) or name == "socat"
        self.is_direct = bool(self.pair) and self.pair.startswith("direct-")
        if self.pair:
            self.streams = DEFAULT_CHANNELS

    def run(self, link, content, watch):
        size = content.byte_count
        read_once(content.path)
        with tempfile.TemporaryDirectory(prefix="pageferry-perf.") as folder:
            machines = []
            try:
                machines.append(Machine(self.binary, [
                    *memory(size), "-object", f"memory-backend-file,id=ram0,size={size},mem-path={content.path},"
                    f"share=off,prealloc=on,{SAME_IDS}"], folder, "source", link.source()))
                machines.append(Machine(self.binary, [
                    *memory(size), "-object",
                    f"memory-backend-memfd,id=ram0,size={size},share=on,{SAME_IDS}" if self.is_direct
                    else f"memory-backend-ram,id=ram0,size={size},{SAME_IDS}",
                    "-incoming", "defer"], folder, "destination", link.destination()))
                if self.is_between:
                    return self._migrate_between(link, *machines, size, watch, folder)
                return self._migrate(link, *machines, size, watch, f"tcp:{link.address}:{PORT}")
            finally:
                for machine in machines:
                    machine.stop()

    def run_live(self, link, guest, watch):
        """A guest that runs (perf/guest/build-live); `guest` is the scenario's [guest]."""
        from . import live_qemu  # Which is made of what is here.
        return live_qemu.migrate(self, link, guest, watch)

    def helpers(self, link, outgoing, incoming):
        """What stands between the two: the commands at the destination and at the source, in the order of their start, and
        what each says once it is ready."""
        place = f"{link.address}:{PORT}"
        if not self.pair:
            return [(link.destination("socat", "-d", "-d", f"TCP-LISTEN:{PORT},bind={link.address},reuseaddr",
                                      f"UNIX-CONNECT:{incoming}"), "listening on"),
                    (link.source("socat", "-d", "-d", f"UNIX-LISTEN:{outgoing}", f"TCP:{place}"), "listening on")]
        command = pageferry_command()
        return [(link.destination(command, "proxy", "destination", "--listen", place, "--insecure", "--connect",
                                  f"unix:{incoming}", "--json"), "waiting for"),
                (link.source(command, "proxy", "source", "--listen", f"unix:{outgoing}", "--to", place, "--json", "--codec",
                             self.pair.removeprefix("direct-")), "waiting for")]

    def _migrate_between(self, link, source, destination, size, watch, folder):
        incoming, outgoing = os.path.join(folder, "in"), os.path.join(folder, "out")
        ends = []
        try:
            for words, ready in self.helpers(link, outgoing, incoming):
                ends.append(End(words))
                if not ends[-1].error.wait_for(ready, 30):
                    raise HarnessError(f"{self.name}: a helper did not start: {ends[-1].error.all()[-300:]}")
            sample = self._migrate(link, source, destination, size, watch, f"unix:{outgoing}", f"unix:{incoming}",
                                   [end.process.pid for end in reversed(ends)])
            for end in ends:
                if not end.wait(30):
                    raise HarnessError(f"{self.name}: a helper does not end")
            return sample
        finally:
            for end in ends:
                end.stop()

    def _migrate(self, link, source, destination, size, watch, address, incoming=None, helpers=None):
        """`helpers`: processes beside the source and the destination, whose processor time counts."""
        for machine in (source, destination):
            machine.configure(self.capabilities, self.parameters)
        destination.command("migrate-incoming", uri=incoming or address)
        prewarm(2 * size)
        wire, machine_time = link.sent(), MachineTime()
        watch.begin(source.pid, destination.pid)
        def seconds():
            own = [process_seconds(end.pid) for end in (source, destination)]
            # A proxy that has ended is not looked up any more.
            return own if not helpers else [a + process_seconds(b) for a, b in zip(own, helpers)]
        cpu = seconds()
        start = time.monotonic()
        source.command("migrate", uri=address)
        outcomes = [end.wait_for_end() for end in (source, destination)]
        wall = time.monotonic() - start
        cpu = [now - before for now, before in zip(seconds(), cpu)]
        watch.end()
        used = machine_time.stop()
        sent = link.sent() - wire
        told = source.command("query-migrate")
        if outcomes != ["completed", "completed"]:
            return Sample(outcome=f"failed: {told.get('error-desc', outcomes)}")
        ram = told["ram"]
        return Sample(
            seconds=told["total-time"] / 1e3, activeSeconds=told["total-time"] / 1e3, wallSeconds=round(wall, 4),
            downtimeMilliseconds=told["downtime"], wireBytes=sent, cpuSource=round(cpu[0], 4),
            cpuDestination=round(cpu[1], 4), machine=used,
            pages={"zero": ram["duplicate"], "data": ram["normal"]},
            details={"setupMilliseconds": told.get("setup-time"), "transferred": ram["transferred"]})
