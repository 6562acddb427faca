# SPDX-License-Identifier: Apache-2.0
"""A link of a given rate between two network namespaces, for perf/link and perf/live. Needs root and iproute2."""
import os, subprocess, sys, uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Burst: a few ms of the rate, or the bucket itself is the limit. Latency: the queue before it, in time.
SHAPES = {
    "100mbit": "rate 100mbit burst 128kb latency 50ms",
    "1gbit": "rate 1gbit burst 512kb latency 20ms",
    "2.5gbit": "rate 2500mbit burst 1mb latency 20ms",
    "10gbit": "rate 10gbit burst 4mb latency 10ms",
    "none": None,
}


def sh(*words):
    subprocess.run(words, check=True)


class Link:
    """Two namespaces and the pair of devices between them."""

    def __enter__(self):
        tag = uuid.uuid4().hex[:6]
        self.near, self.far = f"pfl-{tag}a", f"pfl-{tag}b"
        self.device = f"pfl{tag}"
        for space in (self.near, self.far):
            sh("ip", "netns", "add", space)
        sh("ip", "link", "add", self.device, "netns", self.near, "type", "veth", "peer", "name", self.device,
           "netns", self.far)
        for space, address in ((self.near, "10.211.0.1/30"), (self.far, "10.211.0.2/30")):
            sh("ip", "-n", space, "address", "add", address, "dev", self.device)
            sh("ip", "-n", space, "link", "set", self.device, "up")
        return self

    def __exit__(self, *_):
        for space in (self.near, self.far):
            subprocess.run(["ip", "netns", "delete", space])

    def shape(self, rate):
        subprocess.run(["tc", "-n", self.near, "qdisc", "del", "dev", self.device, "root"], stderr=subprocess.DEVNULL)
        if SHAPES[rate]:
            sh("tc", "-n", self.near, "qdisc", "add", "dev", self.device, "root", "tbf", *SHAPES[rate].split())


def prewarm(byte_count):
    subprocess.run([sys.executable, "-c", f"b = b'\\x01' * {byte_count}"], check=True)


def pageferry():
    """The release build."""
    path = os.path.join(ROOT, ".build/release/pageferry")
    if not os.path.exists(path):
        sys.exit("no release build: swift build -c release")
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    return path
