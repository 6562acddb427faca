# SPDX-License-Identifier: Apache-2.0
"""What the machine itself gives, in the same rounds: TCP streams by iperf3, and plain reads of memory."""
import json, os, shutil, subprocess

from . import CACHE, HarnessError
from .links import NOMINAL

PORT = "5988"
# Reads a region with all CPUs, in huge pages where there are any, five times; prints the median in bytes per second.
READ = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static const uint64_t *region;
static size_t words, threads;
static volatile uint64_t sink;
static void *part(void *number) {
  size_t share = words / threads;
  const uint64_t *p = region + share * (size_t)number;
  uint64_t sums[16] = {0};
  for (size_t i = 0; i + 16 <= share; i += 16)
    for (int j = 0; j < 16; j++) sums[j] |= p[i + j];
  for (int j = 0; j < 16; j++) sink |= sums[j];
  return NULL;
}
static int less(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }
int main(int count, char **arguments) {
  size_t size = strtoull(arguments[1], NULL, 10);
  threads = strtoull(arguments[2], NULL, 10);
  words = size / 8;
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (count != 3 || memory == MAP_FAILED || threads > 256) return 1;
  madvise(memory, size, MADV_HUGEPAGE);
  memset(memory, 1, size);
  region = memory;
  double seconds[5];
  for (int round = 0; round < 5; round++) {
    struct timespec a, b;
    pthread_t others[256];
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (size_t t = 0; t < threads; t++) pthread_create(&others[t], NULL, part, (void *)t);
    for (size_t t = 0; t < threads; t++) pthread_join(others[t], NULL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    seconds[round] = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
  }
  qsort(seconds, 5, sizeof *seconds, less);
  printf("%.0f\n", (double)size / seconds[2]);
  return 0;
}
"""


def iperf(link, streams, seconds=1):
    """Bytes per second that arrive, by `iperf3 -P streams`."""
    if not shutil.which("iperf3"):
        raise HarnessError("no iperf3: apt-get install iperf3")
    server = subprocess.Popen(link.destination("iperf3", "-s", "-1", "-p", PORT, "--forceflush"),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while "listening" not in (line := server.stdout.readline()):
            if not line:
                raise HarnessError("iperf3 does not listen")
        client = subprocess.run(
            link.source("iperf3", "-c", link.address, "-p", PORT, "-P", str(streams), "-t", str(seconds), "-J",
                        "-C", link.congestion), capture_output=True, text=True, timeout=seconds + 30)
        result = json.loads(client.stdout)
        if "error" in result:
            raise HarnessError(f"iperf3: {result['error']}")
        server.wait(timeout=10)
        return result["end"]["sum_received"]["bits_per_second"] / 8
    except (ValueError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"iperf3: {error}") from error
    finally:
        server.kill()
        server.wait()


def reached(name, bytes_per_second):
    """What to say of a link, and whether the host reaches the rate that it is called by."""
    rate = bytes_per_second * 8 / 1e9
    nominal = NOMINAL.get(name)
    text = f"iperf3 reaches {rate:.2f} Gbit/s"
    if nominal and rate < 0.9 * nominal:
        return f"{text}: THIS HOST DOES NOT REACH {nominal:g} Gbit/s, so the link is not what limits", False
    return text, True


def memory_read(byte_count):
    """Bytes per second that all CPUs together read from memory that no cache holds."""
    program = os.path.join(CACHE, "perf", "memory-read")
    source = program + ".c"
    os.makedirs(os.path.dirname(program), exist_ok=True)
    if not os.path.exists(program) or not os.path.exists(source) or open(source).read() != READ:
        compiler = shutil.which("cc") or shutil.which("clang")
        if not compiler:
            raise HarnessError("the memory's read bandwidth is measured by a C program: no C compiler")
        with open(source, "w") as file:
            file.write(READ)
        subprocess.run([compiler, "-O3", "-march=native", "-pthread", "-o", program, source], check=True)
    done = subprocess.run([program, str(byte_count), str(os.cpu_count())], capture_output=True, text=True, check=True)
    return float(done.stdout)
