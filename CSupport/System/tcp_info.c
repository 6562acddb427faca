// SPDX-License-Identifier: Apache-2.0
// Apart from sockets.c, because the kernel's header, which has all of struct tcp_info, and glibc's cannot meet.
#include "host_system.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

int hs_tcp_busy_time(int fd, uint64_t *busy_us, uint64_t *receiver_limited_us) {
  struct tcp_info info;
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return -errno;
  if (size < offsetof(struct tcp_info, tcpi_sndbuf_limited))
    return -ENOSYS; // Before Linux 4.10.
  *busy_us = info.tcpi_busy_time;
  *receiver_limited_us = info.tcpi_rwnd_limited;
  return 0;
}

int hs_tcp_round_trip_us(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  memset(&info, 0, sizeof info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
    return -errno;
  // A socket that listens, or is not connected yet, has none.
  return info.tcpi_rtt == 0 ? -ENOTCONN : (int)info.tcpi_rtt;
}
