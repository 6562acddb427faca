// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
public import Migration
import Synchronization
import SystemPackage

/// A Unix socket through which operators and programs watch and steer one migration: docs/CONTROL.md has the protocol.
///
/// One thread serves everybody, and the migration never waits for it. Only the user who runs the process, and root, may
/// connect: by the file's mode, which is 0600 from the first moment on, and by asking the kernel who calls.
public final class ControlSocket: Sendable {
  /// What callers may take. The defaults are what docs/CONTROL.md says.
  package struct Limits: Sendable {
    package var callers = 16
    /// How long a caller may leave what it is told unread.
    package var patience = Duration.seconds(5)

    package init() {}
  }

  private let file: SocketFile
  private let version: String
  private let limits: Limits
  private let ending: Ending
  private let thread = Mutex<HostThread?>(nil)
  private let isOver = Atomic<Bool>(false)

  /// Listens at `path`; who connects waits for ``start(_:)``. A socket that a killed process left behind is replaced.
  /// - Parameter version: of the program, for the greeting.
  public convenience init(path: String, version: String) throws(ControlSocketError) {
    try self.init(path: path, version: version, limits: .init())
  }

  package init(path: String, version: String, limits: Limits) throws(ControlSocketError) {
    let file = try SocketFile(listeningAt: path)
    do throws(Errno) { ending = try Ending() } catch {
      file.remove()
      throw ControlSocketError(path, "\(error)")
    }
    self.file = file
    self.version = version
    self.limits = limits
  }

  deinit { finish(nil) }

  /// Serves callers from now on, on a thread of its own. Once.
  public func start(_ target: any Controllable) {
    let desk = ControlDesk(target: target, version: version)
    let (listener, ending, limits) = (file.descriptor, ending, limits)
    thread.withLock { thread in
      precondition(thread == nil, "a control socket starts once")
      thread = HostThread(name: "pf-control") {
        ControlServer(listener: listener, ending: ending, desk: desk, limits: limits).run()
      }
    }
  }

  /// The migration is over: tells those who watch, closes, and removes the file. Takes at most 300 ms, for callers who do
  /// not read. May be called again.
  public func finish(_ report: MigrationReport?) {
    guard !isOver.exchange(true, ordering: .relaxed) else { return }
    ending.come(report)
    thread.withLock { $0 }?.join()
    file.remove()
  }

  /// Removes the files of all control sockets of this process, without a word to anybody: for an end by a second signal.
  public static func removeFiles() { SocketFile.removeAll() }

  /// Whether a user may steer what another runs.
  static func isAllowed(_ user: uid_t, for own: uid_t) -> Bool { user == own || user == 0 }
}

/// Tells the thread of a control socket that the migration is over.
final class Ending: Sendable {
  /// Readable once it is.
  let bell: CInt
  private let rope: CInt
  private let state = Mutex<(isOver: Bool, report: MigrationReport?)>((false, nil))

  init() throws(Errno) { (rope, bell) = try UnixSocket.pair() }

  deinit {
    close(rope)
    close(bell)
  }

  func come(_ report: MigrationReport?) {
    state.withLock { $0 = (true, report) }
    _ = try? UnixSocket.send(rope, [1])
  }

  var isOver: Bool { state.withLock { $0.isOver } }
  var report: MigrationReport? { state.withLock { $0.report } }
}
