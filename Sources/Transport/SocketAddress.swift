// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// A socket address of any family, as the kernel wants it.
struct SocketAddress {
  private var storage: sockaddr_storage
  private let length: socklen_t

  var family: CInt { CInt(storage.ss_family) }

  private init(storage: sockaddr_storage, length: socklen_t) {
    self.storage = storage
    self.length = length
  }

  /// The addresses that `endpoint` stands for; at least one.
  static func resolve(_ endpoint: Endpoint, passive: Bool) throws(TransportError) -> [SocketAddress] {
    switch endpoint {
    case .unix(let path): return [unix(path)]
    case .tcp(let host, let port): return try resolve(host: host, port: port, passive: passive)
    }
  }

  private static func unix(_ path: String) -> SocketAddress {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // SAFETY: Endpoint bounds the path at 107 bytes; the struct is zeroed, so the terminator is there.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    var storage = sockaddr_storage()
    unsafe withUnsafeMutableBytes(of: &storage) { to in
      unsafe withUnsafeBytes(of: &address) { unsafe to.copyMemory(from: $0) }
    }
    return SocketAddress(storage: storage, length: socklen_t(MemoryLayout<sockaddr_un>.size))
  }

  private static func resolve(host: String, port: UInt16, passive: Bool) throws(TransportError) -> [SocketAddress] {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)
    var list: UnsafeMutablePointer<addrinfo>?
    let name: String? = host.isEmpty ? nil : host
    let status = unsafe getaddrinfo(name, String(port), &hints, &list)
    guard status == 0 else {
      throw .cannotResolve(host: host, reason: unsafe String(cString: gai_strerror(status)))
    }
    defer { unsafe freeaddrinfo(list) }
    var found: [SocketAddress] = []
    var next = unsafe list
    while let entry = unsafe next {
      var storage = sockaddr_storage()
      // SAFETY: ai_addrlen bytes are at ai_addr, and sockaddr_storage has room for every family.
      unsafe withUnsafeMutableBytes(of: &storage) { to in
        unsafe to.copyMemory(
          from: UnsafeRawBufferPointer(start: entry.pointee.ai_addr, count: Int(entry.pointee.ai_addrlen)))
      }
      found.append(SocketAddress(storage: storage, length: unsafe entry.pointee.ai_addrlen))
      unsafe next = entry.pointee.ai_next
    }
    guard !found.isEmpty else { throw .cannotResolve(host: host, reason: "it has no address") }
    return found
  }

  /// Whether only this host can reach it.
  var isLocal: Bool {
    var copy = storage
    // SAFETY: the family says which struct the storage holds.
    return unsafe withUnsafeBytes(of: &copy) { bytes in
      switch family {
      case AF_UNIX: return true
      case AF_INET:
        return unsafe UInt32(bigEndian: bytes.load(as: sockaddr_in.self).sin_addr.s_addr) >> 24 == 127
      case AF_INET6:
        let address = unsafe bytes.load(as: sockaddr_in6.self).sin6_addr
        return unsafe withUnsafeBytes(of: address) { unsafe $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1 }
      default: return false
      }
    }
  }

  /// Calls `body` with the address as `bind` and `connect` take it.
  func withRaw(_ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
    var copy = storage
    return unsafe withUnsafePointer(to: &copy) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
    }
  }

  /// The local or the remote end of a connected or bound socket.
  static func name(of descriptor: CInt, remote: Bool) -> Endpoint? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        unsafe remote ? getpeername(descriptor, raw, &length) : getsockname(descriptor, raw, &length)
      }
    }
    guard status == 0, storage.ss_family != sa_family_t(AF_UNIX) else { return nil }
    let address = SocketAddress(storage: storage, length: length)
    var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
    let printed = unsafe address.withRaw { raw, length in
      unsafe getnameinfo(
        raw, length, &host, socklen_t(host.count), &port, socklen_t(port.count), NI_NUMERICHOST | NI_NUMERICSERV)
    }
    guard printed == 0, let number = UInt16(text(port)) else { return nil }
    return .tcp(host: text(host), port: number)
  }

  private static func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
