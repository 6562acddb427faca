# SPDX-License-Identifier: Apache-2.0
"""A link of a given rate between two network namespaces. Needs root and iproute2."""
import json, os, subprocess, uuid

from . import HarnessError

# tc's token bucket. Burst: a few ms of the rate, or the bucket itself is the limit. Latency: the queue before it.
SHAPES = {
    "10m": "rate 10mbit burst 32kb latency 50ms",
    "100m": "rate 100mbit burst 128kb latency 50ms",
    "1g": "rate 1gbit burst 256kb latency 20ms",
    "2.5g": "rate 2500mbit burst 1mb latency 20ms",
    "10g": "rate 10gbit burst 4mb latency 20ms",
    "40g": "rate 40gbit burst 16mb latency 20ms",
    "unshaped": None,
    "loopback": None,
}
# What each is called: Gbit/s, for saying how much of it a host reaches.
NOMINAL = {"10m": 0.01, "100m": 0.1, "1g": 1.0, "2.5g": 2.5, "10g": 10.0, "40g": 40.0}


def sh(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise HarnessError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Link:
    """Two namespaces and the pair of veth devices between them; `loopback` uses one of them. All of it goes on exit."""

    def __init__(self, congestion="cubic"):
        tag = uuid.uuid4().hex[:6]
        self.near, self.far = f"pfh-{tag}a", f"pfh-{tag}b"
        self.device = f"pfh{tag}"
        self.congestion = congestion
        self.name = "unshaped"

    def __enter__(self):
        if os.geteuid() != 0:
            raise HarnessError("network namespaces need root")
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        for space in (self.near, self.far):
            sh("ip", "netns", "add", space)
        sh("ip", "link", "add", self.device, "netns", self.near, "type", "veth", "peer", "name", self.device,
           "netns", self.far)
        for space, address in ((self.near, "10.211.0.1/30"), (self.far, "10.211.0.2/30")):
            sh("ip", "-n", space, "address", "add", address, "dev", self.device)
            sh("ip", "-n", space, "link", "set", self.device, "up")
            sh("ip", "-n", space, "link", "set", "lo", "up")
            # Of this namespace alone. Some hosts default to bbr, which paces even here.
            sh("ip", "netns", "exec", space, "sysctl", "-q", "-w",
               f"net.ipv4.tcp_congestion_control={self.congestion}")

    def __exit__(self, *_):
        for space in (self.near, self.far):
            subprocess.run(["ip", "netns", "delete", space], stderr=subprocess.DEVNULL)

    def choose(self, name):
        """Shapes both directions as `name` says."""
        if name not in SHAPES:
            raise HarnessError(f"link {name} is none of {', '.join(SHAPES)}")
        for space in (self.near, self.far):
            subprocess.run(["tc", "-n", space, "qdisc", "del", "dev", self.device, "root"], stderr=subprocess.DEVNULL)
            if SHAPES[name]:
                sh("tc", "-n", space, "qdisc", "add", "dev", self.device, "root", "tbf", *SHAPES[name].split())
        self.name = name

    @property
    def address(self):
        """Where a destination listens."""
        return "127.0.0.1" if self.name == "loopback" else "10.211.0.2"

    def source(self, *words):
        """The words of a command at the source's end."""
        return ["ip", "netns", "exec", self.near, *words]

    def destination(self, *words):
        return ["ip", "netns", "exec", self.near if self.name == "loopback" else self.far, *words]

    def sent(self):
        """Bytes that the source's device has sent, with all headers; on loopback, those of both directions."""
        device = "lo" if self.name == "loopback" else self.device
        (seen,) = json.loads(sh("ip", "-n", self.near, "-s", "-j", "link", "show", "dev", device))
        return seen["stats64"]["tx"]["bytes"]
