// SPDX-License-Identifier: Apache-2.0
import Glibc

extension Connection {
  /// The network interface that has this connection's local address; nil for a Unix socket, and where the kernel does not
  /// say. With a route that leaves by another interface than the address's own it is not where bytes go.
  public var interfaceName: String? {
    guard case .tcp(let host, _)? = SocketAddress.name(of: descriptor, remote: false) else { return nil }
    return Self.interface(withAddress: host)
  }

  /// The interface that has `address`, numeric and as the kernel prints it.
  static func interface(withAddress address: String) -> String? {
    // A link-local address is printed with its interface, an IPv4 address of an IPv6 socket with a prefix.
    let plain = address.split(separator: "%").first.map { String($0) } ?? address
    let wanted = plain.hasPrefix("::ffff:") && plain.contains(".") ? String(plain.dropFirst(7)) : plain
    var list: UnsafeMutablePointer<ifaddrs>?
    guard unsafe getifaddrs(&list) == 0 else { return nil }
    defer { unsafe freeifaddrs(list) }
    var next = unsafe list
    while let entry = unsafe next {
      if let found = unsafe numeric(entry.pointee.ifa_addr), found == wanted {
        return unsafe String(cString: entry.pointee.ifa_name)
      }
      unsafe next = entry.pointee.ifa_next
    }
    return nil
  }

  /// An interface's address in numbers; nil if it is not one of IP.
  private static func numeric(_ address: UnsafeMutablePointer<sockaddr>?) -> String? {
    guard let address = unsafe address else { return nil }
    let length: Int
    switch CInt(unsafe address.pointee.sa_family) {
    case AF_INET: length = MemoryLayout<sockaddr_in>.size
    case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
    default: return nil
    }
    var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let status = unsafe getnameinfo(
      address, socklen_t(length), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
    guard status == 0 else { return nil }
    let whole = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return whole.split(separator: "%").first.map { String($0) }
  }
}
