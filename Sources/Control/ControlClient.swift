// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import SystemPackage

/// Why a control socket did not do what it was asked.
public enum ControlClientError: Error, Sendable, Equatable, CustomStringConvertible {
  /// There is none, nobody listens, or it may not be used.
  case absent(String)
  /// The migration answered no.
  case refused(ControlRefusal)
  /// The connection ended, or what answers is no control socket.
  case broken(String)

  public var description: String {
    switch self {
    case .absent(let reason), .broken(let reason): reason
    case .refused(let refusal): refusal.message
    }
  }
}

/// The other end of a control socket. Belongs to one thread.
public final class ControlClient {
  private let descriptor: CInt
  private let path: String
  private var received: [UInt8] = []
  private var chunk = [UInt8](repeating: 0, count: 64 << 10)
  /// What the socket said first.
  public private(set) var greeting = ControlGreeting(pageferry: "", protocol: 0)
  /// How long an answer may take.
  public var limit = Duration.seconds(10)

  /// Connects, and waits to be greeted.
  public init(path: String) throws(ControlClientError) {
    self.path = path
    do throws(Errno) {
      descriptor = try UnixSocket.make()
      try UnixSocket.connect(descriptor, path)
    } catch { throw .absent(Self.absence(path, error)) }
    let line = try nextLine(within: limit)
    if let answer = try? ControlLine.decode(ControlAnswer<JSONValue>.self, line), let refusal = answer.error {
      throw refusal.code == .notAllowed ? .absent(refusal.message) : .refused(refusal)
    }
    guard let greeting = try? ControlLine.decode(ControlGreeting.self, line) else {
      throw .broken("\(path): what answers there is no control socket of PageFerry")
    }
    self.greeting = greeting
    guard greeting.protocol == ControlProtocol.version else {
      throw .broken("\(path): speaks version \(greeting.protocol) of the protocol, this is \(ControlProtocol.version)")
    }
  }

  deinit { close(descriptor) }

  private static func absence(_ path: String, _ error: Errno) -> String {
    switch error {
    case .noSuchFileOrDirectory: "\(path): there is no control socket; has the migration ended?"
    case .connectionRefused: "\(path): nobody listens there; the process that did was killed"
    default: "\(path): \(error)"
    }
  }

  /// Asks, and waits for the answer.
  /// - Returns: its result.
  public func ask<Result: Decodable>(
    _ command: ControlCommand, _ arguments: [String: JSONValue] = [:], as result: Result.Type
  ) throws(ControlClientError) -> Result {
    var request: [String: JSONValue] = ["command": .string(command.rawValue)]
    if !arguments.isEmpty { request["arguments"] = .object(arguments) }
    guard let line = try? ControlLine.encode(JSONValue.object(request)) else { throw .broken("the request is no JSON") }
    try send(line)
    let answer: ControlAnswer<Result>
    do { answer = try ControlLine.decode(ControlAnswer<Result>.self, try nextLine(within: limit)) } catch {
      throw error as? ControlClientError ?? .broken("\(path): the answer to '\(command.rawValue)' makes no sense")
    }
    if let refusal = answer.error { throw .refused(refusal) }
    guard let result = answer.result else { throw .broken("\(path): an answer without a result") }
    return result
  }

  /// The next event after `watch`, however long it takes.
  public func nextEvent() throws(ControlClientError) -> ControlEvent {
    let line = try nextLine(within: nil)
    guard let event = try? ControlLine.decode(ControlEvent.self, line) else {
      throw .broken("\(path): an event that makes no sense")
    }
    return event
  }

  // MARK: Lines

  /// Sends bytes as they are: a line ends with `\n`.
  public func send(_ bytes: [UInt8]) throws(ControlClientError) {
    var left = bytes[...]
    let deadline = HostClock.now() + limit.nanoseconds
    do throws(Errno) {
      while !left.isEmpty {
        let sent = try UnixSocket.send(descriptor, left)
        left = left.dropFirst(sent)
        if sent == 0, !wait(Int16(POLLOUT), until: deadline) { throw .timedOut }
      }
    } catch { throw .broken("\(path): the connection ended (\(error))") }
  }

  /// The next line, without its end.
  /// - Parameter limit: nil: however long it takes.
  public func nextLine(within limit: Duration?) throws(ControlClientError) -> [UInt8] {
    let deadline = limit.map { HostClock.now() + $0.nanoseconds }
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(received[..<end])
        received.removeFirst(end + 1)
        return line
      }
      do throws(Errno) {
        if let some = try UnixSocket.receive(descriptor, into: &chunk) {
          guard !some.isEmpty else { throw .connectionReset }
          received += some
        } else if !wait(Int16(POLLIN), until: deadline) {
          throw .timedOut
        }
      } catch {
        throw .broken(
          error == .timedOut ? "\(path): no answer for \(limit?.seconds ?? 0) s" : "\(path): the connection has ended")
      }
    }
  }

  private func wait(_ events: Int16, until deadline: UInt64?) -> Bool {
    let now = HostClock.now()
    let left = deadline.map { $0 - min(now, $0) } ?? 3_600_000_000_000
    var polled = [pollfd(fd: descriptor, events: events, revents: 0)]
    return UnixSocket.wait(&polled, nanoseconds: left) || deadline == nil
  }
}
