// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int hs_process_open(pid_t pid) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  return fd >= 0 ? fd : -errno;
}

int hs_process_signal(int process, int signal) {
  return syscall(SYS_pidfd_send_signal, process, signal, NULL, 0) == 0 ? 0 : -errno;
}

int hs_close_from(unsigned first) {
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
  return syscall(SYS_close_range, first, ~0u, 0) == 0 ? 0 : -errno;
}
