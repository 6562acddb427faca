// SPDX-License-Identifier: Apache-2.0

/// What a client wants to read; nothing can be changed through the server.
struct WebRequest: Sendable, Equatable {
  /// Without a query.
  var path: String
  /// What the client understands: the `Accept` header.
  var accept = ""
}

struct WebResponse: Sendable, Equatable {
  /// `200`, and so on.
  var status: Int
  var contentType: String
  var body: String

  static func plain(_ status: Int, _ words: String) -> WebResponse {
    WebResponse(status: status, contentType: "text/plain; charset=utf-8", body: words + "\n")
  }
}

/// By which names a server that only this host reaches may be called. A page elsewhere could have its own name point
/// here (DNS rebinding) and read along in the visitor's browser; its name betrays it.
enum HostName {
  /// - Parameter header: the `Host` header: a name or an address, and perhaps a port.
  static func isLoopback(_ header: String) -> Bool {
    var host = header[...]
    if host.hasPrefix("[") {
      guard let end = host.firstIndex(of: "]") else { return false }
      host = host[host.index(after: host.startIndex)..<end]
    } else if let colon = host.lastIndex(of: ":") {
      host = host[..<colon]
    }
    let name = host.lowercased()
    return name == "localhost" || name == "::1"
      || name.hasPrefix("127.") && name.allSatisfy { $0 == "." || ("0"..."9").contains($0) }
  }
}
