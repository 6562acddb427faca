// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Logging
import Synchronization

@testable import Transport

/// Two connections that are each other's peer, for drivers: one is the product's, the other is whoever it talks to.
struct DriverSockets {
  let near: Connection
  let far: Connection

  /// Nil if the system has none left.
  init?() {
    var ends: [CInt] = [-1, -1]
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else { return nil }
    near = Connection(descriptor: ends[0], peer: "driver")
    far = Connection(descriptor: ends[1], peer: "product")
  }
}

/// Reads everything that comes on a connection, on a thread of its own.
final class DriverCollector: Sendable {
  private let bytes = Mutex<[UInt8]>([])
  private let thread: Mutex<HostThread?>

  init(_ connection: Connection) {
    thread = Mutex(nil)
    let started = HostThread(name: "driver-collect") { [self] in
      var room = [UInt8](repeating: 0, count: 64 << 10)
      while let got = try? connection.receiveSome(into: &room), got > 0 {
        bytes.withLock { $0 += room[..<got] }
      }
    }
    thread.withLock { $0 = started }
  }

  /// Everything; once the other end is closed.
  func finish() -> [UInt8] {
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
    return bytes.withLock { $0 }
  }
}

/// What drivers give where somebody wants to be told something.
enum DriverText {
  static var silence: Logger { Logger(label: "driver", factory: { _ in SwiftLogNoOpLogHandler() }) }

  /// What is wrong with the words of an error: a peer's text in it must not reach an operator's terminal as it is.
  static func problem(in description: String) -> String? {
    if description.isEmpty { return "an error without a description" }
    let isPlain = description.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    return isPlain ? nil : "an error with control characters"
  }
}

extension RawSpan {
  private static let zeroPage = [UInt8](repeating: 0, count: 4096)

  /// Whether these are the bytes of a page; nil: zeros.
  func holds(_ page: [UInt8]?) -> Bool {
    let page = page ?? Self.zeroPage
    guard page.count == byteCount else { return false }
    // SAFETY: both have so many bytes. A loop would be most of what a fuzzer does.
    return unsafe withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return false }
      return unsafe memcmp(base, page, page.count) == 0
    }
  }
}
