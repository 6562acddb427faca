# SPDX-License-Identifier: Apache-2.0
"""Scenarios: one TOML file each in perf/scenarios; perf/README.md says what they hold."""
import fnmatch, itertools, os, tomllib

from . import HarnessError, SCENARIOS
from .content import byte_count
from .links import SHAPES

KEYS = {"title", "kind", "links", "rounds", "content", "guest", "pageferry", "qemu", "yardsticks", "expect"}
ENGINE_KEYS = {"name", "codec", "channels", "workers", "cache", "send", "receive", "rounds"}
GUEST_KEYS = {"memory", "pattern", "rate", "working-set", "threads", "mix", "compressibility",
              "downtime-limit", "limit", "still"}
EXPECT_KEYS = {"figure", "engine", "against", "at_most", "at_least"}
FIGURES = ("seconds", "cpu", "wire", "iperf3", "read-bandwidth", "downtime", "first-touch")


class Engine:
    """One PageFerry configuration of a scenario, and how often it runs."""

    def __init__(self, name, options, rounds):
        self.name, self.options, self.rounds = name, options, rounds


class Scenario:
    def __init__(self, name, table):
        self.name = name
        try:
            self._take(table)
        except HarnessError as error:
            raise HarnessError(f"scenario {name}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise HarnessError(f"scenario {name}: {type(error).__name__} {error}") from error

    def _take(self, table):
        known(table, KEYS, "the scenario")
        self.title = table["title"]
        self.kind = table["kind"]
        if self.kind not in ("paused", "live"):
            raise HarnessError(f"kind is paused or live, not '{self.kind}'")
        self.links = table["links"]
        for link in self.links:
            if link not in SHAPES:
                raise HarnessError(f"link {link} is none of {', '.join(SHAPES)}")
        self.rounds = table["rounds"]
        self.content = table.get("content")
        self.guests = guests(table["guest"]) if self.kind == "live" else []
        if self.kind == "paused" and not self.content:
            raise HarnessError("a paused guest has a [content]")
        self.engines = [engine for entry in table.get("pageferry", []) for engine in expand(entry, self.rounds)]
        names = [engine.name for engine in self.engines]
        if len(names) != len(set(names)):
            raise HarnessError(f"two configurations have one name: {', '.join(names)}")
        qemu = table.get("qemu", {})
        known(qemu, {"configurations", "rounds"}, "[qemu]")
        for guest in self.guests if qemu else []:
            if guest.get("pattern", "sparse") not in ("sparse", "mixed"):
                raise HarnessError(f"a guest under QEMU writes sparse or mixed, not {guest['pattern']}")
        self.qemu = [(name, rounds_of(name, qemu.get("rounds", {}), self.rounds))
                     for name in qemu.get("configurations", [])]
        yardsticks = table.get("yardsticks", {})
        known(yardsticks, {"iperf3", "read-bandwidth", "first-touch"}, "[yardsticks]")
        self.iperf_streams = yardsticks.get("iperf3", [])
        self.read_bandwidth = yardsticks.get("read-bandwidth", False)
        self.first_touch = yardsticks.get("first-touch", False)
        self.expectations = table.get("expect", [])
        for entry in self.expectations:
            known(entry, EXPECT_KEYS, "[[expect]]")
            if entry["figure"] not in FIGURES:
                raise HarnessError(f"figure is one of {', '.join(FIGURES)}, not '{entry['figure']}'")
            if ("at_most" in entry) == ("at_least" in entry):
                raise HarnessError("an expectation has at_most or at_least")


def known(table, keys, where):
    unknown = sorted(set(table) - keys)
    if unknown:
        raise HarnessError(f"{where} has no '{unknown[0]}'; it has {', '.join(sorted(keys))}")


def expand(entry, rounds):
    """A configuration for each combination of the lists in an entry of [[pageferry]]."""
    known(entry, ENGINE_KEYS, "[[pageferry]]")
    axes = [key for key in ("codec", "channels", "workers", "cache") if isinstance(entry.get(key), list)]
    for values in itertools.product(*(entry[key] for key in axes)):
        options = {key: value for key, value in entry.items() if key not in ("name", "rounds")} | dict(zip(axes, values))
        yield Engine(entry.get("name") or name_of(options), options, entry.get("rounds", rounds))


def name_of(options):
    """`zstd:1`, `none-4ch`: the codec, and what is not the default."""
    name = options.get("codec", "auto")
    if options.get("channels", 2) != 2:
        name += f"-{options['channels']}ch"
    if "workers" in options:
        name += f"-{options['workers']}w"
    if "cache" in options:
        name += f"-cache-{options['cache']}"
    return name


def guests(table):
    """One guest for each rate."""
    known(table, GUEST_KEYS, "[guest]")
    base = {"memory": "1GiB", "limit": 25} | table
    base["byte_count"] = byte_count(base["memory"])
    rates = base.get("rate", [None])
    rates = rates if isinstance(rates, list) else [rates]
    return [base | ({} if rate is None else {"rate": rate}) for rate in rates]


def rounds_of(name, patterns, default):
    for pattern, rounds in patterns.items():
        if fnmatch.fnmatch(name, pattern):
            return min(rounds, default)
    return default


def names():
    return sorted(file.removesuffix(".toml") for file in os.listdir(SCENARIOS) if file.endswith(".toml"))


def load(name):
    """By name, or by the path of a file."""
    path = name if name.endswith(".toml") else os.path.join(SCENARIOS, name + ".toml")
    try:
        with open(path, "rb") as file:
            return Scenario(os.path.basename(path).removesuffix(".toml"), tomllib.load(file))
    except FileNotFoundError:
        raise HarnessError(f"no scenario {name}; there are {', '.join(names())}") from None
    except tomllib.TOMLDecodeError as error:
        raise HarnessError(f"{path}: {error}") from None
