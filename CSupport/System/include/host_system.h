// SPDX-License-Identifier: Apache-2.0
//
// System calls and socket options that Swift's Glibc module cannot say: variadic calls, macros, and what hides
// behind _GNU_SOURCE. Thin by contract: one call each, no policy, no allocation, no state. Functions that can
// fail return 0 or a count, or the negated errno.
#ifndef HOST_SYSTEM_H
#define HOST_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Threads ------------------------------------------------------------------------------------------------

// Names the calling thread as `top -H` shows it; `name` is cut at 15 bytes by the caller.
int hs_thread_set_name(const char *name);

// Most CPUs that the two functions below know of: the largest number that Linux can be built for.
#define HS_CPU_COUNT_MAX 8192

// Restricts the calling thread to `count` CPUs listed in `cpus`. CPUs past the kernel's limit are ignored.
// -EINVAL: none is left that the thread's cpuset allows.
int hs_thread_set_cpus(const int *cpus, size_t count);

// Writes the CPUs that the calling thread may run on to `cpus` (at most `capacity`), ascending; returns how many.
int hs_thread_get_cpus(int *cpus, size_t capacity);

// Of the calling thread alone: its nice value (-20 to 19; -EACCES: a lower one needs a privilege), and whether it is
// scheduled as SCHED_BATCH. The getters return 0 or 1, or -errno.
int hs_thread_set_nice(int value);
int hs_thread_get_nice(int *value);
int hs_thread_set_batch(void);
int hs_thread_is_batch(void);

// Sleeps while *word == expected, at most timeout_ns (< 0: for ever). Returns 0 when woken, -EAGAIN when the word
// differs, -ETIMEDOUT, or -EINTR. Private to the process.
int hs_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);

// Wakes at most `count` waiters of `word`; returns how many.
int hs_futex_wake(const uint32_t *word, int count);

// PR_SET_PDEATHSIG: SIGTERM for this process when the thread of `parent` that started it ends. -ESRCH: `parent` has ended
// already.
int hs_end_with_parent(pid_t parent);

// Processes ----------------------------------------------------------------------------------------------

// pidfd_open(2), Linux 5.3: a descriptor that stands for this process, whoever gets its number later. It can be read
// (poll) once the process has ended. -ESRCH: there is none; -EINVAL or -ENOENT: this is a thread that does not lead one.
int hs_process_open(pid_t pid);

// pidfd_send_signal(2), Linux 5.1. 0 only checks. -ESRCH: it has ended; -EPERM: not allowed.
int hs_process_signal(int process, int signal);

// close_range(2), Linux 5.9: closes `first` and every descriptor above it.
int hs_close_from(unsigned first);

// Memory -------------------------------------------------------------------------------------------------

// Anonymous private pages, page-aligned, not yet touched; NULL on failure (errno says why).
void *hs_map_anonymous(size_t byte_count);
int hs_unmap(void *base, size_t byte_count);

// A shared mapping of a new memfd of that size; the descriptor is closed. NULL on failure (errno says why).
void *hs_map_memfd(size_t byte_count);
// Maps the beginning of a file, shared; NULL with errno if the kernel refuses. The file stays the caller's.
void *hs_map_shared(int fd, size_t byte_count);

// MADV_HUGEPAGE: transparent huge pages for this range, where the kernel has them.
int hs_advise_huge_pages(void *base, size_t byte_count);

// MADV_DONTNEED: gives private anonymous pages back; they read as zeros afterwards.
int hs_drop_pages(void *base, size_t byte_count);

// MADV_POPULATE_WRITE (Linux 5.14): faults the range in, writable, without changing its content.
int hs_populate_write(void *base, size_t byte_count);

// An allocator for libraries that take one: blocks of 4 MiB and more are mappings of their own, advised to use huge pages,
// because a library that walks hundreds of MiB would fault in small pages one by one, and miss the TLB ever after. Aligned
// to 64 bytes; NULL if there is no memory. `unused` is the library's.
void *hs_allocate(void *unused, size_t byte_count);
void hs_release(void *unused, void *block);

// NUMA. -ENOSYS: the kernel was built without it; -EPERM: a container's filter forbids it.

// MPOL_PREFERRED: pages of the range that do not exist yet will come from `node`, or from another if that is full.
int hs_memory_prefer_node(void *base, size_t byte_count, int node);

// The node that the range around `address` prefers; -1: none, pages come from where they are touched first.
int hs_memory_preferred_node(const void *address, int *node);

// The node of each page that begins at an address; a page that does not exist has a negative number. Nothing is
// faulted in.
int hs_page_nodes(const uintptr_t *pages, size_t count, int *nodes);

// Tracking of writes -------------------------------------------------------------------------------------
//
// Ranges are page-aligned addresses of this process; the memory is not touched, but by hs_populate_read. Bitmaps
// have one word for 64 pages of 4 KiB, bit 0 of the first word is the range's first page; bits are added, never
// cleared.

// Bits of a userfaultfd's features, from Linux 6.7's headers (older ones lack some).
#define HS_UFFD_FEATURE_WP 0x1ull // Linux 5.7, of anonymous memory
#define HS_UFFD_FEATURE_EVENT_REMOVE 0x8ull // Linux 4.11
#define HS_UFFD_FEATURE_WP_HUGETLBFS_SHMEM 0x1000ull // Linux 5.19, of shared memory
#define HS_UFFD_FEATURE_WP_UNPOPULATED 0x2000ull // Linux 6.4
#define HS_UFFD_FEATURE_WP_ASYNC 0x8000ull // Linux 6.7

// How to ask for a userfaultfd: the system call, /dev/userfaultfd, or the system call for faults of user code only,
// which needs no privilege. With the last, a fault of the kernel itself is not delivered but fails.
#define HS_UFFD_CALL 0
#define HS_UFFD_DEVICE 1
#define HS_UFFD_USER_ONLY 2

// Opens a userfaultfd with `features` switched on, non-blocking; `offered` is what the kernel has. Returns the
// descriptor. -EPERM: not allowed; -EINVAL: a feature is not there.
int hs_uffd_open(int access, uint64_t features, uint64_t *offered);

// Registers a range for write-protection. -EINVAL: the kernel cannot, for this kind of memory. Undone by closing.
int hs_uffd_register(int uffd, uintptr_t start, size_t byte_count);

// Write-protects a range, or ends the protection; that wakes who waits for it, unless told not to. -EAGAIN: memory
// of this process is being discarded just now.
#define HS_UFFD_PROTECT 1
#define HS_UFFD_UNPROTECT 0
#define HS_UFFD_UNPROTECT_QUIETLY 2
int hs_uffd_write_protect(int uffd, uintptr_t start, size_t byte_count, int mode);

// Wakes who waits for a fault in a range: the access is tried again.
int hs_uffd_wake(int uffd, uintptr_t start, size_t byte_count);

// A write to a protected page (byte_count is 0), or a range that is about to be discarded.
struct hs_uffd_event {
  uint64_t start, byte_count;
};

// Takes at most `capacity` (and HS_UFFD_EVENTS_MAX) events; returns how many. -EAGAIN: there is none.
#define HS_UFFD_EVENTS_MAX 64
int hs_uffd_read(int uffd, struct hs_uffd_event *events, size_t capacity);

// Sleeps until a descriptor can be read. Returns 1 for the first, 2 for the second, 3 for both, or -EINTR.
int hs_wait_readable(int first, int second);

// dup3(2): lets `to` stand for what `from` stands for, and closes what it stood for, in one step.
int hs_replace_descriptor(int from, int to);

// This process's page tables, for the functions below.
int hs_pagemap_open(void);

// Adds the pages that were written since they were write-protected by an asynchronous userfaultfd (PAGEMAP_SCAN,
// Linux 6.7); with `rearm`, each is protected again in the same step. Pages that no userfaultfd protects count as
// written, if there is a page table for them.
int hs_pagemap_written(int pagemap, uintptr_t start, size_t page_count, int rearm, uint64_t *words);

// Adds the pages that are the kernel's shared page of zeros (PAGEMAP_SCAN).
int hs_pagemap_zero_frames(int pagemap, uintptr_t start, size_t page_count, uint64_t *words);

// mincore(2): adds the pages that are in memory, be it on their way from one place to another.
int hs_resident_pages(uintptr_t start, size_t page_count, uint64_t *words);

// MADV_POPULATE_READ (Linux 5.14), or a read of every page: gives each page an entry in the page table. Content is
// unchanged.
int hs_populate_read(uintptr_t start, size_t byte_count);

// Files --------------------------------------------------------------------------------------------------

// SEEK_DATA / SEEK_HOLE (lseek(2)): the next data, or hole, at or after `offset`. -ENXIO: no data after it.
int64_t hs_seek_data(int fd, int64_t offset);
int64_t hs_seek_hole(int fd, int64_t offset);

// POSIX_FADV_SEQUENTIAL for the whole file, and POSIX_FADV_WILLNEED for a range.
int hs_advise_sequential(int fd);
int hs_advise_will_need(int fd, int64_t offset, int64_t byte_count);

// rename(2), and rename that fails with -EEXIST rather than replace (RENAME_NOREPLACE; where the file system lacks
// it, a check just before).
int hs_rename(const char *from, const char *to);
int hs_rename_new(const char *from, const char *to);

// fsync(2) of a directory: makes a rename within it durable.
int hs_sync_directory(const char *path);

// Probes -------------------------------------------------------------------------------------------------

// Whether the PAGEMAP_SCAN ioctl (Linux 6.7) works on this process: 0, or -errno.
int hs_probe_pagemap_scan(void);

// MADV_POPULATE_WRITE on a fresh page: 0, or -errno.
int hs_probe_populate_write(void);

// The soft limit of locked memory in bytes; INT64_MAX for none.
int64_t hs_memory_lock_limit(void);

// Sockets ------------------------------------------------------------------------------------------------

// TCP_NODELAY and keep-alive probes: first after idle_s, then every interval_s, `count` times.
int hs_tcp_configure(int fd, int idle_s, int interval_s, int count);

// TCP_CONGESTION by name; -ENOENT: the kernel does not have it.
int hs_tcp_set_congestion(int fd, const char *name);

// SO_SNDBUF / SO_RCVBUF in bytes; 0 leaves that one alone.
int hs_socket_set_buffers(int fd, int send_bytes, int receive_bytes);

// From TCP_INFO, since the connection was made: microseconds in which data was on its way or waiting to be, and of those,
// in which the receiver's window was what held it back. The kernel counts both in ticks of 1 to 10 ms.
int hs_tcp_busy_time(int fd, uint64_t *busy_us, uint64_t *receiver_limited_us);

// Bytes that the socket has received and nobody has read yet (FIONREAD).
int hs_socket_waiting_bytes(int fd);

// TCP_NOTSENT_LOWAT in bytes: a send waits while more than this is waiting to be sent.
int hs_tcp_set_unsent_limit(int fd, int bytes);

// From TCP_INFO: round trip time, smoothed and least, in microseconds; segments sent, and of those, again; bytes in a
// segment. The least round trip time is 0 before Linux 4.6.
struct hs_tcp_path {
  uint32_t round_trip_us, least_round_trip_us, segments, retransmitted, segment_bytes;
};
int hs_tcp_get_path(int fd, struct hs_tcp_path *path);

// SO_RCVTIMEO and SO_SNDTIMEO; 0 means none.
int hs_socket_set_timeouts(int fd, int64_t receive_ns, int64_t send_ns);

// SO_PEERCRED of a connected Unix socket: the effective user of the process at the other end, when it connected.
int hs_socket_peer_user(int fd, uint32_t *user);

// The process at the other end of a Unix socket: the one that connected, or that listened.
int hs_socket_peer_process(int fd, int32_t *process);

// Bytes that were sent and that the peer (of a Unix socket) has not read, or (of TCP) not acknowledged; or a negative errno.
int64_t hs_socket_unsent_bytes(int fd);

// A part of a vectored write or read; laid out as the kernel's struct iovec.
struct hs_iovec {
  void *base;
  size_t byte_count;
};

// The most parts that one call takes: the kernel's IOV_MAX.
#define HS_IOVEC_MAX 1024

// How hs_send_vector sends; may be combined.
#define HS_SEND_AT_ONCE 1   // take only what there is room for now: -EAGAIN if there is none
#define HS_SEND_MORE 2      // more follows at once: do not send a short segment for it
#define HS_SEND_ZERO_COPY 4 // do not copy, after hs_socket_enable_zero_copy

// sendmsg(2) with MSG_NOSIGNAL; at most HS_IOVEC_MAX parts. Returns bytes taken, or -errno. With HS_SEND_ZERO_COPY the
// parts must stay as they are until the send's completion has been taken (Linux keeps their pages, so freeing them is
// safe, but what is sent again is what they hold then); -ENOBUFS: too much is under way (RLIMIT_MEMLOCK, optmem_max).
ssize_t hs_send_vector(int fd, const struct hs_iovec *parts, size_t count, int how);

// SO_ZEROCOPY, of a TCP socket on Linux 4.14; -EOPNOTSUPP or -ENOPROTOOPT: not here.
int hs_socket_enable_zero_copy(int fd);

// Takes one notice from the socket's error queue, without waiting. 0: zero-copy sends first..last are done, numbered
// from 0 in 32 bits as the successful ones were made; *copied: the kernel copied their bytes after all. -EAGAIN: there
// is none; -ENOMSG: it was about something else, and is gone. Writes to the pointers on 0 only.
int hs_socket_take_completion(int fd, uint32_t *first, uint32_t *last, bool *copied);

// recvmsg(2) with MSG_WAITALL: waits until all parts are full, the stream ends, or the timeout passes. Returns bytes
// given, 0 at the end of the stream, or -errno.
ssize_t hs_receive_vector(int fd, const struct hs_iovec *parts, size_t count);

// Processor time of the calling process, user and system, in nanoseconds.
int64_t hs_process_cpu_ns(void);

#endif
