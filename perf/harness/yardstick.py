# SPDX-License-Identifier: Apache-2.0
"""What the machine itself gives, in the same rounds: TCP streams by iperf3, plain reads and first touches of memory."""
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
# Writes a byte to every 4 KiB of fresh memory, in huge pages as a receiver has it and in small ones, in turns, one thread,
# three times; prints the medians in seconds. Exit code 3: the memory did not come as huge pages.
TOUCH = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
static long faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}
static double touch(size_t size, int huge) {
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) exit(1);
  madvise(memory, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  long before = faults();
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (size_t at = 0; at < size; at += 4096) ((volatile char *)memory)[at] = 1;
  clock_gettime(CLOCK_MONOTONIC, &b);
  if (huge && (size_t)(faults() - before) > size / 4096 / 8) exit(3);
  munmap(memory, size);
  return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
}
static int less(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }
int main(int count, char **arguments) {
  if (count != 2) return 1;
  size_t size = strtoull(arguments[1], NULL, 10);
  double huge[3], small[3];
  for (int round = 0; round < 3; round++) {
    huge[round] = touch(size, 1);
    small[round] = touch(size, 0);
  }
  qsort(huge, 3, sizeof *huge, less);
  qsort(small, 3, sizeof *small, less);
  printf("%.6f %.6f\n", huge[1], small[1]);
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


def program(name, text):
    """The path of a C program, which is made first if it is not there."""
    path = os.path.join(CACHE, "perf", name)
    source = path + ".c"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path) or not os.path.exists(source) or open(source).read() != text:
        compiler = shutil.which("cc") or shutil.which("clang")
        if not compiler:
            raise HarnessError(f"{name} is measured by a C program: no C compiler")
        with open(source, "w") as file:
            file.write(text)
        subprocess.run([compiler, "-O3", "-march=native", "-pthread", "-o", path, source], check=True)
    return path


def memory_read(byte_count):
    """Bytes per second that all CPUs together read from memory that no cache holds."""
    done = subprocess.run([program("memory-read", READ), str(byte_count), str(os.cpu_count())], capture_output=True,
                          text=True, check=True)
    return float(done.stdout)


def first_touch(byte_count):
    """Seconds of touching fresh memory for the first time: [huge pages, small pages]."""
    done = subprocess.run([program("first-touch", TOUCH), str(byte_count)], capture_output=True, text=True)
    if done.returncode:
        raise HarnessError("first touch: " + ("this host gives no huge pages" if done.returncode == 3 else "no memory"))
    return [float(word) for word in done.stdout.split()]
