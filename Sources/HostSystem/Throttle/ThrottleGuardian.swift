// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import SystemPackage

/// Who releases a throttled process if the process that throttles is killed.
///
/// A guardian is a small process that is started before anything is throttled. It sleeps until its owner ends, however
/// that ends, and then undoes what the owner has not undone. It has a session of its own, so that a terminal's signals
/// and those to a process group do not reach it, and blocks all signals that can be blocked.
public enum ThrottleGuardian: Sendable {
  /// Nobody. If the owner is killed, a process that it had stopped stays stopped, and a quota stays, until
  /// ``ProcessThrottle/releaseAbandoned()`` is called, or another throttle is made.
  case none
  /// A program that calls ``run()``: `pageferry throttle-guardian` does, or your own program, when it sees an argument of
  /// your choice.
  case program(path: String, arguments: [String])

  /// The guardian's side: returns when the owner has ended or does not need it any more. Call it from `main`, before
  /// anything else is done: it closes all descriptors above 2, and reads standard input.
  /// - Returns: an exit code.
  public static func run() -> Int32 {
    var all = sigset_t()
    unsafe sigfillset(&all)
    _ = unsafe sigprocmask(SIG_BLOCK, &all, nil)
    _ = setsid()
    _ = unsafe chdir("/")
    _ = hs_close_from(3)
    var duty = GuardianDuty()
    return duty.run()
  }
}

/// What a guardian knows: the last record that its owner has told it.
struct GuardianDuty {
  /// Ends a conversation: everything is undone.
  static let farewell = "done\n\n"
  static let greeting = UInt8(ascii: "+")

  private let files = HostFiles()
  private var record: ThrottleRecord?
  private var received: [UInt8] = []
  private var isDone = false

  mutating func run() -> Int32 {
    // The first record says who the owner is, so that its end is seen even if a child of its keeps the socket open.
    while record == nil, !isDone {
      guard take(flags: 0) else { return 1 }
    }
    guard let first = record else { return 0 }
    let owner = hs_process_open(first.owner.pid)
    guard owner >= 0, first.owner.exists(files) else { return 1 }
    var greeting = Self.greeting
    guard unsafe send(STDIN_FILENO, &greeting, 1, CInt(MSG_NOSIGNAL)) == 1 else { return 1 }
    while !isDone {
      let ready = hs_wait_readable(STDIN_FILENO, owner)
      if ready < 0 { continue }
      // What it said last is still in the socket.
      var isOpen = true
      if ready & 1 != 0 { isOpen = take(flags: 0) }
      if ready & 2 != 0 { while isOpen { isOpen = take(flags: CInt(MSG_DONTWAIT)) } }
      if !isOpen { break }
    }
    if isDone { return 0 }
    guard let record else { return 0 }
    do throws(ThrottleError) { try record.undo(files) } catch {
      let line = "pageferry: process \(record.process.pid) could not be released: \(error)\n"
      _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
      return 1
    }
    ThrottleLedger.standard?.remove(record)
    return 0
  }

  /// Reads what the owner says.
  /// - Returns: false if it says nothing more.
  private mutating func take(flags: CInt) -> Bool {
    var chunk = [UInt8](repeating: 0, count: 4096)
    let count = unsafe recv(STDIN_FILENO, &chunk, chunk.count, flags)
    if count < 0, errno == EINTR { return true }
    guard count > 0, received.count < 1 << 16 else { return false }
    received += chunk.prefix(count)
    let end = [UInt8](repeating: UInt8(ascii: "\n"), count: 2)
    while let start = received.indices.dropLast().first(where: { received[$0..<$0 + 2].elementsEqual(end) }) {
      let message = String(decoding: received[..<(start + 2)], as: UTF8.self)
      received.removeFirst(start + 2)
      if message == Self.farewell { isDone = true }
      record = ThrottleRecord(text: message) ?? record
    }
    return true
  }
}
