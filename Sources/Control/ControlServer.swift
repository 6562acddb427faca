// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import Migration
import SystemPackage

/// The thread of a control socket: accepts callers, answers them, tells watchers, until the migration is over.
final class ControlServer {
  /// How long those who do not read delay the end.
  private static let farewell: UInt64 = 300_000_000
  /// Without descriptors there is no use in trying again at once.
  private static let acceptPause: UInt64 = 100_000_000

  private let listener: CInt
  private let ending: Ending
  private let desk: ControlDesk
  private let limits: ControlSocket.Limits
  private var callers: [Caller] = []
  private var chunk = [UInt8](repeating: 0, count: 16 << 10)
  private var acceptAgainAt: UInt64 = 0

  init(listener: CInt, ending: Ending, desk: ControlDesk, limits: ControlSocket.Limits) {
    self.listener = listener
    self.ending = ending
    self.desk = desk
    self.limits = limits
  }

  func run() {
    while !ending.isOver { turn() }
    finish(ending.report)
  }

  private func turn() {
    let before = HostClock.now()
    var polled = [pollfd(fd: ending.bell, events: Int16(POLLIN), revents: 0)]
    let accepts = before >= acceptAgainAt
    polled.append(pollfd(fd: accepts ? listener : -1, events: Int16(POLLIN), revents: 0))
    polled += callers.map { pollfd(fd: $0.descriptor, events: $0.interest, revents: 0) }
    _ = UnixSocket.wait(&polled, nanoseconds: patience(before))
    for (caller, found) in zip(callers, polled[2...]) where found.revents != 0 {
      caller.turn(found.revents, desk, &chunk)
    }
    let now = HostClock.now()
    for caller in callers {
      caller.tell(now, desk)
      caller.dropIfStuck(now, limit: limits.patience.nanoseconds)
    }
    callers.removeAll { $0.isGone }
    if polled[1].revents != 0 { accept() }
  }

  /// Nanoseconds until something is due whether anybody says something or not.
  private func patience(_ now: UInt64) -> UInt64 {
    var due = now + 1_000_000_000
    if acceptAgainAt > now { due = min(due, acceptAgainAt) }
    for caller in callers {
      if let watch = caller.watch { due = min(due, max(now, watch.nextAt)) }
      if caller.hasUnsent { due = min(due, now + limits.patience.nanoseconds / 4) }
    }
    return due - now
  }

  // MARK: Callers

  private func accept() {
    // As many as there may be, in one go; the rest waits for the next.
    for _ in 0..<limits.callers {
      let descriptor = Glibc.accept(listener, nil, nil)
      guard descriptor >= 0 else {
        switch Errno(rawValue: errno) {
        case .resourceTemporarilyUnavailable, .interrupted, .connectionAbort: return
        default: return acceptAgainAt = HostClock.now() + Self.acceptPause
        }
      }
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
      _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
      let caller = Caller(descriptor)
      if let refusal = refusal(of: descriptor) {
        caller.say(ControlDesk.refusal(refusal))
        caller.flush()
      } else {
        caller.say(desk.greetingLine)
        caller.flush()
        callers.append(caller)
      }
    }
  }

  private func refusal(of descriptor: CInt) -> ControlRefusal? {
    var user: UInt32 = .max
    guard unsafe hs_socket_peer_user(descriptor, &user) == 0, ControlSocket.isAllowed(user, for: geteuid()) else {
      return ControlRefusal(.notAllowed, "only the user who runs the migration, and root, may steer it")
    }
    guard callers.count < limits.callers else {
      return ControlRefusal(.tooManyClients, "\(callers.count) clients are connected, more are not taken")
    }
    return nil
  }

  // MARK: The end

  private func finish(_ report: MigrationReport?) {
    for caller in callers where caller.watch != nil { caller.say(ControlDesk.endEvent(report)) }
    let deadline = HostClock.now() + Self.farewell
    callers.forEach { $0.flush() }
    while true {
      let waiting = callers.filter { $0.hasUnsent }
      let now = HostClock.now()
      guard !waiting.isEmpty, now < deadline else { break }
      var polled = waiting.map { pollfd(fd: $0.descriptor, events: Int16(POLLOUT), revents: 0) }
      guard UnixSocket.wait(&polled, nanoseconds: deadline - now) else { break }
      waiting.forEach { $0.flush() }
    }
    callers = []
  }
}
