// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The owner's side of a guardian: the process, and the socket over which it is told what would have to be undone.
///
/// If this goes without ``dismiss()``, the guardian sees the socket close, and undoes it.
final class GuardianLink: Sendable {
  private let socket: FileDescriptor
  private let child: pid_t

  /// Starts a guardian, tells it the record, and waits until it is on its guard, at most 5 s.
  init(program: String, arguments: [String], record: ThrottleRecord) throws(ThrottleError) {
    var ends: [CInt] = [0, 0]
    guard unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      throw .guardianFailed(reason: "socketpair: \(Errno(rawValue: errno))")
    }
    let socket = FileDescriptor(rawValue: ends[0])
    let theirs = FileDescriptor(rawValue: ends[1])
    let (child, failure) = Self.spawn(program, arguments, input: theirs)
    try? theirs.close()
    guard failure == 0 else {
      try? socket.close()
      throw .guardianFailed(reason: "\(program): \(Errno(rawValue: failure))")
    }
    self.socket = socket
    self.child = child
    guard tell(record), hearGreeting() else {
      dismiss()
      throw .guardianFailed(reason: "\(program) did not answer")
    }
  }

  deinit { try? socket.close() }

  /// - Returns: false if the guardian has ended.
  func tell(_ record: ThrottleRecord) -> Bool { say(record.text) }

  /// Lets it go: there is nothing left to undo.
  func dismiss() {
    _ = say(GuardianDuty.farewell)
    _ = shutdown(socket.rawValue, CInt(SHUT_RDWR))
    // It ends at once; whoever stopped it is not waited for.
    for _ in 0..<100 {
      if waitpid(child, nil, WNOHANG) != 0 { return }
      HostClock.sleep(nanoseconds: 5_000_000)
    }
  }

  private func say(_ text: String) -> Bool {
    let count = text.utf8.count
    return unsafe send(socket.rawValue, text, count, CInt(MSG_NOSIGNAL)) == count
  }

  private func hearGreeting() -> Bool {
    var wanted = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
    let limit = HostClock.now() + 5_000_000_000
    while HostClock.now() < limit {
      guard unsafe poll(&wanted, 1, 1000) > 0 else { continue }
      var byte: UInt8 = 0
      return unsafe recv(socket.rawValue, &byte, 1, 0) == 1 && byte == GuardianDuty.greeting
    }
    return false
  }

  /// Starts a program whose standard input is `input`, and in which all signals are blocked from its first instruction on.
  private static func spawn(
    _ program: String, _ arguments: [String], input: FileDescriptor
  ) -> (child: pid_t, failure: CInt) {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, input.rawValue, STDIN_FILENO)
    unsafe posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe posix_spawnattr_setsigmask(&attributes, &all)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var words: [UnsafeMutablePointer<CChar>?] = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
    defer { unsafe words.forEach { unsafe free($0) } }
    var child = pid_t()
    let failure = unsafe posix_spawn(&child, program, &actions, &attributes, &words, environ)
    return (child, failure)
  }
}
