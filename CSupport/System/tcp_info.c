// SPDX-License-Identifier: Apache-2.0
// Apart from sockets.c, because the kernel's header, which has all of struct tcp_info, and glibc's cannot meet.
#include "host_system.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
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

int hs_tcp_get_path(int fd, struct hs_tcp_path *path) {
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return -errno;
  // What an older kernel does not know stays 0.
  path->round_trip_us = info.tcpi_rtt;
  path->least_round_trip_us = info.tcpi_min_rtt;
  path->segments = info.tcpi_segs_out;
  path->retransmitted = info.tcpi_total_retrans;
  path->segment_bytes = info.tcpi_snd_mss;
  return 0;
}
