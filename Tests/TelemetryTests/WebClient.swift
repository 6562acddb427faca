// SPDX-License-Identifier: Apache-2.0
import Glibc
import Testing
import Transport

/// A client that sends what it is told to, byte by byte if need be.
final class WebClient {
  private let descriptor: CInt

  init(_ endpoint: Endpoint) throws {
    guard case .tcp(_, let port) = endpoint else { throw CancellationError() }
    descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let status = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try #require(status == 0, "connect: \(errno)")
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  func send(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
    }
  }

  /// Everything until the server closes; nil if it does not within 5 s.
  func readAll() -> String? {
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
      if count > 0 {
        all += buffer.prefix(count)
      } else if count == 0 || errno == ECONNRESET {
        return String(decoding: all, as: UTF8.self)
      } else {
        return nil
      }
    }
  }

  struct Answer {
    let status: Int
    let headers: [String: String]
    let body: String
  }

  static func get(
    _ path: String, _ endpoint: Endpoint, method: String = "GET", headers: String = ""
  ) throws -> Answer {
    let client = try WebClient(endpoint)
    client.send("\(method) \(path) HTTP/1.1\r\nHost: \(endpoint)\r\n\(headers)\r\n")
    return try answer(try #require(client.readAll()))
  }

  static func answer(_ text: String) throws -> Answer {
    let split = try #require(text.firstRange(of: "\r\n\r\n"), "\(text.prefix(200))")
    let lines = text[..<split.lowerBound].split(separator: "\r\n")
    let pairs = lines.dropFirst().map { line -> (String, String) in
      let parts = line.split(separator: ": ", maxSplits: 1)
      return (parts[0].lowercased(), parts.count > 1 ? String(parts[1]) : "")
    }
    return Answer(
      status: try #require(Int(lines[0].split(separator: " ")[1])),
      headers: Dictionary(pairs, uniquingKeysWith: { first, _ in first }), body: String(text[split.upperBound...]))
  }
}
