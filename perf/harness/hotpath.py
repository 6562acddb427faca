# SPDX-License-Identifier: Apache-2.0
"""What lanes do while they move a guest that runs, and that nothing per page allocates, locks, counts references or checks
for exclusive access."""
import collections, os, re, subprocess, tempfile, time

from . import HarnessError, pageferry, stacks

# Seconds after which memory is filled and the bulk stage is over.
WARM = 3
FORBIDDEN = re.compile(
    r"malloc|calloc|realloc|^_?_?(GI_)?_?_?(cfree|free)$"
    r"|swift_(retain|release|alloc|dealloc|slow|beginAccess|endAccess|bridgeObject)"
    r"|AccessSet|pthread_mutex|futex|swift_getGenericMetadata|swift_conformsTo")


def run(codec, cache, seconds):
    """Prints where the lanes' threads were."""
    stacks.need_perf()
    with tempfile.TemporaryDirectory(prefix="pageferry-hotpath.") as folder:
        # As fast as it can, and not to be paused: it iterates until it is stopped.
        demo = subprocess.Popen(
            [pageferry.command(), "demo", "--quiet", "--pattern", "sparse", "--rate", "0", "--threads", "2",
             "--working-set", "480MiB", "--memory", "512MiB", "--codec", codec, "--delta-cache", cache,
             "--downtime-limit", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(WARM)
            if demo.poll() is not None:
                raise HarnessError("the demo ended too early")
            data = os.path.join(folder, "perf.data")
            done = subprocess.run(["perf", "record", "-q", "-o", data, *stacks.EVENT, "-g", "-a", "--", "sleep", str(seconds)],
                                  capture_output=True, text=True)
            if done.returncode:
                raise HarnessError(f"perf record: {done.stderr.strip()[-300:]}")
            if demo.poll() is not None:
                raise HarnessError("the guest was handed over while it was watched; try again")
            found = [stack for stack in stacks.read(data) if stack.thread.startswith("pf-lane-")]
        finally:
            demo.terminate()
            demo.wait()
    show(found, codec, cache)


def show(found, codec, cache):
    if not found:
        raise HarnessError("no sample of a lane")
    counts = collections.Counter(stack.leaf for stack in found)
    print(f"codec {codec}, delta cache {cache}: where the lanes' threads were, in percent of their {len(found)} samples")
    for name, count in counts.most_common(15):
        print(f"{100 * count / len(found):7.2f} %  {name[:100]}")
    print("\nof these, what must not be there per page (well below 1 %: it comes per span, stripe or frame):")
    bad = [(name, count) for name, count in counts.most_common() if FORBIDDEN.search(name)]
    for name, count in bad:
        print(f"{100 * count / len(found):7.2f} %  {name[:100]}")
    if not bad:
        print("     nothing")
