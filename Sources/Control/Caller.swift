// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import SystemPackage

/// One connection to a control socket: lines come in, answers go out, and neither is waited for.
///
/// Belongs to the socket's thread.
final class Caller {
  /// With more than this unsent, a caller's next lines are left where they are until it reads.
  private static let unsentByteCountMax = 64 << 10

  let descriptor: CInt
  private var received: [UInt8] = []
  /// Of `received`: where lines have been looked for.
  private var lookedAt = 0
  /// Whether the rest of a line that was too long is being passed over.
  private var isPassingOver = false
  private var unsent: [UInt8] = []
  /// Since when there has been no room for more; nil while there is.
  private var stuckSince: UInt64?
  /// It will not say anything any more.
  private var isMute = false
  /// It will not hear anything any more.
  private var isDeaf = false
  private(set) var isGone = false
  var watch: ControlDesk.Watch?

  init(_ descriptor: CInt) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  // MARK: Polling

  var interest: Int16 {
    (wantsMore ? Int16(POLLIN) : 0) | (unsent.isEmpty ? 0 : Int16(POLLOUT))
  }

  private var wantsMore: Bool { !isMute && unsent.count <= Self.unsentByteCountMax && !hasLine }

  /// Does what has become possible.
  func turn(_ found: Int16, _ desk: ControlDesk, _ chunk: inout [UInt8]) {
    // The other end is closed: what it said before is carried out, and nobody is told.
    if found & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { isDeaf = true }
    if found & Int16(POLLNVAL) != 0 { isGone = true }
    if isDeaf || found & Int16(POLLIN) != 0 && wantsMore { receive(&chunk) }
    repeat {
      answer(desk)
      flush()
    } while !isGone && unsent.isEmpty && hasLine
    if isMute, !hasLine, unsent.isEmpty, watch == nil || isDeaf { isGone = true }
  }

  /// - Parameter limit: nanoseconds that a caller may leave us standing.
  func dropIfStuck(_ now: UInt64, limit: UInt64) {
    if let since = stuckSince, now - min(now, since) >= limit { isGone = true }
  }

  // MARK: Lines in

  private func receive(_ chunk: inout [UInt8]) {
    do throws(Errno) {
      guard let some = try UnixSocket.receive(descriptor, into: &chunk) else { return }
      guard some.isEmpty else { return received += some }
    } catch { isGone = true }
    isMute = true
    // A last line may lack its end.
    if !received.isEmpty { received.append(UInt8(ascii: "\n")) }
  }

  /// Whether something is there that can be answered: a line, or too much of one.
  private var hasLine: Bool {
    received.count > ControlProtocol.lineByteCountMax || received[lookedAt...].contains(UInt8(ascii: "\n"))
  }

  private func answer(_ desk: ControlDesk) {
    var begin = 0
    while unsent.count <= Self.unsentByteCountMax {
      guard let end = received[max(begin, lookedAt)...].firstIndex(of: UInt8(ascii: "\n")) else {
        lookedAt = received.count
        break
      }
      let line = received[begin..<end]
      begin = end + 1
      lookedAt = begin
      if isPassingOver {
        isPassingOver = false
      } else if line.count > ControlProtocol.lineByteCountMax {
        say(Self.tooLong)
      } else if line.contains(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\r") }) {
        let reply = desk.reply(to: Array(line))
        say(reply.line)
        if let watch = reply.watch { self.watch = watch }
      }
    }
    received.removeFirst(begin)
    lookedAt -= begin
    guard received.count > ControlProtocol.lineByteCountMax, lookedAt == received.count else { return }
    if !isPassingOver { say(Self.tooLong) }
    isPassingOver = true
    received = []
    lookedAt = 0
  }

  private static let tooLong = ControlDesk.refusal(
    .init(.lineTooLong, "a line has at most \(ControlProtocol.lineByteCountMax) bytes"))

  // MARK: Lines out

  /// Says a line, as soon as there is room for it.
  func say(_ line: [UInt8]) { if !isDeaf { unsent += line } }

  /// Sends a watcher the event that is due; one that has not read the last is spared it.
  func tell(_ now: UInt64, _ desk: ControlDesk) {
    guard var due = watch, due.nextAt <= now else { return }
    due.nextAt = now + due.interval
    watch = due
    guard unsent.isEmpty else { return }
    say(desk.statusEvent)
    flush()
  }

  func flush() {
    guard !unsent.isEmpty else { return }
    guard !isDeaf else {
      unsent = []
      return
    }
    var sent = 0
    do throws(Errno) {
      while sent < unsent.count {
        let count = try UnixSocket.send(descriptor, unsent[sent...])
        if count == 0 { break }
        sent += count
      }
    } catch {
      isDeaf = true
      sent = unsent.count
    }
    unsent.removeFirst(sent)
    if unsent.isEmpty { stuckSince = nil } else if sent > 0 || stuckSince == nil { stuckSince = HostClock.now() }
  }

  var hasUnsent: Bool { !unsent.isEmpty && !isGone }
}
