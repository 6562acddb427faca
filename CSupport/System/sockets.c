// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host_system.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

static int set_int(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

int hs_tcp_configure(int fd, int idle_s, int interval_s, int count) {
  int result = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (result == 0)
    result = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  if (result == 0)
    result = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
  if (result == 0)
    result = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
  if (result == 0)
    result = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, count);
  return result;
}

int hs_socket_waiting_bytes(int fd) {
  int bytes = 0;
  return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : -errno;
}

int64_t hs_socket_unsent_bytes(int fd) {
  int bytes = 0;
  return ioctl(fd, TIOCOUTQ, &bytes) == 0 ? bytes : -errno;
}

int hs_tcp_set_unsent_limit(int fd, int bytes) { return set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, bytes); }

int hs_tcp_set_congestion(int fd, const char *name) {
  return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0 ? 0 : -errno;
}

int hs_socket_set_buffers(int fd, int send_bytes, int receive_bytes) {
  int result = send_bytes == 0 ? 0 : set_int(fd, SOL_SOCKET, SO_SNDBUF, send_bytes);
  return result == 0 && receive_bytes != 0 ? set_int(fd, SOL_SOCKET, SO_RCVBUF, receive_bytes) : result;
}

static int set_timeout(int fd, int option, int64_t limit_ns) {
  struct timeval limit = {limit_ns / 1000000000, limit_ns % 1000000000 / 1000};
  return setsockopt(fd, SOL_SOCKET, option, &limit, sizeof limit) == 0 ? 0 : -errno;
}

int hs_socket_set_timeouts(int fd, int64_t receive_ns, int64_t send_ns) {
  int result = set_timeout(fd, SO_RCVTIMEO, receive_ns);
  return result != 0 ? result : set_timeout(fd, SO_SNDTIMEO, send_ns);
}

int hs_socket_peer_user(int fd, uint32_t *user) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return -errno;
  *user = peer.uid;
  return 0;
}

int hs_socket_peer_process(int fd, int32_t *process) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return -errno;
  *process = peer.pid;
  return peer.pid > 0 ? 0 : -ESRCH;
}

// The kernel is given the caller's list as it is.
_Static_assert(sizeof(struct hs_iovec) == sizeof(struct iovec), "same size");
_Static_assert(offsetof(struct hs_iovec, base) == offsetof(struct iovec, iov_base), "same place");
_Static_assert(offsetof(struct hs_iovec, byte_count) == offsetof(struct iovec, iov_len), "same place");

static struct msghdr message_of(const struct hs_iovec *parts, size_t count) {
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = (struct iovec *)(uintptr_t)parts;
  message.msg_iovlen = count < HS_IOVEC_MAX ? count : HS_IOVEC_MAX;
  return message;
}

ssize_t hs_send_vector(int fd, const struct hs_iovec *parts, size_t count, int how) {
  struct msghdr message = message_of(parts, count);
  int flags = MSG_NOSIGNAL;
  flags |= (how & HS_SEND_AT_ONCE) != 0 ? MSG_DONTWAIT : 0;
  flags |= (how & HS_SEND_MORE) != 0 ? MSG_MORE : 0;
  flags |= (how & HS_SEND_ZERO_COPY) != 0 ? MSG_ZEROCOPY : 0;
  ssize_t sent = sendmsg(fd, &message, flags);
  return sent >= 0 ? sent : -errno;
}

int hs_socket_enable_zero_copy(int fd) { return set_int(fd, SOL_SOCKET, SO_ZEROCOPY, 1); }

int hs_socket_take_completion(int fd, uint32_t *first, uint32_t *last, bool *copied) {
  // What the kernel puts there: the notice, and room for the address that other kinds of notices come with.
  union {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
  } control;
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
    return -errno;
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part)) {
    bool is_notice = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                    (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
    struct sock_extended_err notice;
    if (!is_notice || part->cmsg_len < CMSG_LEN(sizeof notice))
      continue;
    memcpy(&notice, CMSG_DATA(part), sizeof notice);
    if (notice.ee_errno != 0 || notice.ee_origin != SO_EE_ORIGIN_ZEROCOPY)
      continue;
    *first = notice.ee_info;
    *last = notice.ee_data;
    *copied = (notice.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) != 0;
    return 0;
  }
  return -ENOMSG;
}

ssize_t hs_receive_vector(int fd, const struct hs_iovec *parts, size_t count) {
  struct msghdr message = message_of(parts, count);
  ssize_t received = recvmsg(fd, &message, MSG_WAITALL);
  return received >= 0 ? received : -errno;
}
