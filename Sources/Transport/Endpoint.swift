// SPDX-License-Identifier: Apache-2.0

/// Where a connection goes or comes from: `host:port`, `[address]:port`, or `unix:/path`.
public enum Endpoint: Equatable, Sendable, CustomStringConvertible {
  /// A host name or address, empty for all addresses when listening; and a port, 0 for any when listening.
  case tcp(host: String, port: UInt16)
  /// A path in the file system, at most 107 bytes.
  case unix(path: String)

  /// Longest path of a Unix socket (sun_path, less its terminator).
  static let unixPathByteCountMax = 107

  /// Reads an endpoint as an operator types it.
  /// - Throws: ``TransportError/badEndpoint(text:reason:)`` with an example of what is right.
  public init(parsing text: String) throws(TransportError) {
    if text.hasPrefix("unix:") {
      let path = String(text.dropFirst("unix:".count))
      guard !path.isEmpty, path.utf8.count <= Self.unixPathByteCountMax else {
        throw .badEndpoint(text: text, reason: "a Unix socket's path has 1 to \(Self.unixPathByteCountMax) bytes")
      }
      self = .unix(path: path)
      return
    }
    let stripped = text.hasPrefix("tcp:") ? String(text.dropFirst("tcp:".count)) : text
    guard let colon = stripped.lastIndex(of: ":") else {
      throw .badEndpoint(text: text, reason: "the port is missing (host:port, [address]:port or unix:/path)")
    }
    guard let port = UInt16(stripped[stripped.index(after: colon)...]) else {
      throw .badEndpoint(text: text, reason: "what follows the last colon is not a port (0 to 65535)")
    }
    var host = String(stripped[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = String(host.dropFirst().dropLast())
    } else if host.contains(":") {
      throw .badEndpoint(text: text, reason: "write an IPv6 address in brackets: [\(host)]:\(port)")
    }
    self = .tcp(host: host, port: port)
  }

  public var description: String {
    switch self {
    case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }
}
