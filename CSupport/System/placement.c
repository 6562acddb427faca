// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BITS (CHAR_BIT * sizeof(unsigned long))

// As the kernel wants it: cpu_set_t ends at 1024 CPUs.
struct cpu_mask {
  unsigned long words[HS_CPU_COUNT_MAX / BITS];
};

int hs_thread_set_cpus(const int *cpus, size_t count) {
  struct cpu_mask mask = {{0}};
  for (size_t i = 0; i < count; i++)
    if (cpus[i] >= 0 && cpus[i] < HS_CPU_COUNT_MAX)
      mask.words[(size_t)cpus[i] / BITS] |= 1ul << ((size_t)cpus[i] % BITS);
  return syscall(SYS_sched_setaffinity, 0, sizeof mask, &mask) == 0 ? 0 : -errno;
}

int hs_thread_get_cpus(int *cpus, size_t capacity) {
  struct cpu_mask mask = {{0}};
  if (syscall(SYS_sched_getaffinity, 0, sizeof mask, &mask) < 0)
    return -errno;
  size_t found = 0;
  for (size_t cpu = 0; cpu < HS_CPU_COUNT_MAX && found < capacity; cpu++)
    if (mask.words[cpu / BITS] >> (cpu % BITS) & 1)
      cpus[found++] = (int)cpu;
  return (int)found;
}

int hs_thread_set_nice(int value) { return setpriority(PRIO_PROCESS, 0, value) == 0 ? 0 : -errno; }

int hs_thread_get_nice(int *value) {
  errno = 0; // -1 is a value, too.
  *value = getpriority(PRIO_PROCESS, 0);
  return -errno;
}

int hs_thread_set_batch(void) {
  struct sched_param none = {0};
  return sched_setscheduler(0, SCHED_BATCH, &none) == 0 ? 0 : -errno;
}

int hs_thread_is_batch(void) {
  int policy = sched_getscheduler(0);
  return policy < 0 ? -errno : policy == SCHED_BATCH;
}

#define NODE_COUNT_MAX 1024 // MAX_NUMNODES is at most that.

struct node_mask {
  unsigned long words[NODE_COUNT_MAX / BITS];
};

int hs_memory_prefer_node(void *base, size_t byte_count, int node) {
  if (node < 0 || node >= NODE_COUNT_MAX)
    return -EINVAL;
  struct node_mask mask = {{0}};
  mask.words[(size_t)node / BITS] = 1ul << ((size_t)node % BITS);
  // The kernel reads one bit less than it is told.
  return syscall(SYS_mbind, base, byte_count, MPOL_PREFERRED, &mask, NODE_COUNT_MAX + 1, 0) == 0 ? 0 : -errno;
}

int hs_memory_preferred_node(const void *address, int *node) {
  struct node_mask mask = {{0}};
  int mode = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &mode, &mask, NODE_COUNT_MAX, address, MPOL_F_ADDR) != 0)
    return -errno;
  *node = -1;
  for (int i = NODE_COUNT_MAX - 1; mode == MPOL_PREFERRED && i >= 0; i--)
    if (mask.words[(size_t)i / BITS] >> ((size_t)i % BITS) & 1)
      *node = i;
  return 0;
}

int hs_page_nodes(const uintptr_t *pages, size_t count, int *nodes) {
  // With no nodes to move them to, it only says where pages are.
  return syscall(SYS_move_pages, 0, count, pages, NULL, nodes, 0) == 0 ? 0 : -errno;
}
