// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
public import SystemPackage

/// Another process, started by this one: its standard output comes here, line by line; its standard error stays where
/// ours is.
@safe public final class ChildProcess: @unchecked Sendable {
  /// The process's number.
  public let identifier: Int32
  private let output: FileDescriptor
  private var received: [UInt8] = []
  private var status: Int32?

  /// Starts a program.
  /// - Parameter arguments: without the program's own name.
  /// - Throws: `Errno` of pipe(2) or posix_spawn(3).
  public init(program: String, arguments: [String]) throws(Errno) {
    let pipe: (readEnd: FileDescriptor, writeEnd: FileDescriptor)
    do { pipe = try FileDescriptor.pipe() } catch { throw (error as? Errno) ?? .ioError }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addclose(&actions, pipe.readEnd.rawValue)
    unsafe posix_spawn_file_actions_adddup2(&actions, pipe.writeEnd.rawValue, STDOUT_FILENO)
    unsafe posix_spawn_file_actions_addclose(&actions, pipe.writeEnd.rawValue)
    var words: [UnsafeMutablePointer<CChar>?] = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
    defer { unsafe words.forEach { unsafe free($0) } }
    var identifier = pid_t()
    // Signals that we wait for on a thread of our own are blocked here; the child is to hear them.
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let failure = unsafe posix_spawn(&identifier, program, &actions, &attributes, &words, environ)
    try? pipe.writeEnd.close()
    guard failure == 0 else {
      try? pipe.readEnd.close()
      throw Errno(rawValue: failure)
    }
    self.identifier = identifier
    output = pipe.readEnd
  }

  deinit { try? output.close() }

  /// The next line that it prints, without its end; nil once it prints no more. One thread only.
  public func nextLine() -> String? {
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        defer { received.removeFirst(end + 1) }
        return String(decoding: received[..<end], as: UTF8.self)
      }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = unsafe chunk.withUnsafeMutableBytes { unsafe (try? output.read(into: $0)) ?? 0 }
      guard count > 0 else { return nil }
      received += chunk.prefix(count)
    }
  }

  /// Asks it to end.
  public func terminate() { _ = kill(identifier, SIGTERM) }

  /// Waits until it has ended.
  /// - Returns: its exit code, or 128 and the number of the signal that ended it.
  public func wait() -> Int32 {
    if let status { return status }
    var raw: CInt = 0
    while unsafe waitpid(identifier, &raw, 0) < 0 && errno == EINTR {}
    let code = raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
    status = code
    return code
  }

  /// Has the calling process ignore Ctrl-C and a terminal that goes away.
  public static func ignoreInterrupts() {
    _ = signal(SIGINT, SIG_IGN)
    _ = signal(SIGHUP, SIG_IGN)
  }

  /// Has the calling process end when its parent does: for a child that is of no use alone.
  /// - Returns: false if the parent has ended already.
  public static func endWithParent(_ parent: Int32) -> Bool { hs_end_with_parent(parent) != -ESRCH }
}
