// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// Unix stream sockets, as far as a control socket needs them. None of them waits, and none is passed on to children.
enum UnixSocket {
  /// The longest path that an address has room for, in bytes.
  static let pathByteCountMax = 107

  static func make() throws(Errno) -> CInt {
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(AF_UNIX, kind, 0)
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    return descriptor
  }

  /// Two connected ends.
  static func pair() throws(Errno) -> (CInt, CInt) {
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    var ends: [CInt] = [-1, -1]
    guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Errno(rawValue: errno) }
    return (ends[0], ends[1])
  }

  static func bind(_ descriptor: CInt, _ path: String) throws(Errno) {
    unsafe try withAddress(path) { unsafe Glibc.bind(descriptor, $0, $1) }
  }

  /// - Throws: `.connectionRefused` if nobody listens; `.resourceTemporarilyUnavailable` if somebody does, and too many wait.
  static func connect(_ descriptor: CInt, _ path: String) throws(Errno) {
    unsafe try withAddress(path) { unsafe Glibc.connect(descriptor, $0, $1) }
  }

  private static func withAddress(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
  ) throws(Errno) {
    let bytes = Array(path.utf8)
    guard !bytes.isEmpty, bytes.count <= pathByteCountMax, !bytes.contains(0) else { throw .fileNameTooLong }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // SAFETY: the path is shorter than sun_path, which is zeroed, so the terminator is there.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    // SAFETY: a sockaddr_un is what the kernel expects of this family.
    let status = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard status == 0 else { throw Errno(rawValue: errno) }
  }

  /// What there is to read now.
  /// - Returns: nil if there is nothing, and nothing at all at the end.
  static func receive(_ descriptor: CInt, into chunk: inout [UInt8]) throws(Errno) -> ArraySlice<UInt8>? {
    // SAFETY: the array's own bytes, for as long as the call takes.
    let count = unsafe chunk.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
    if count >= 0 { return chunk[..<count] }
    let failure = Errno(rawValue: errno)
    guard failure == .resourceTemporarilyUnavailable || failure == .interrupted else { throw failure }
    return nil
  }

  /// Sends as much as there is room for now.
  /// - Returns: how many bytes that was.
  static func send(_ descriptor: CInt, _ bytes: ArraySlice<UInt8>) throws(Errno) -> Int {
    // SAFETY: as above.
    let count = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
    }
    if count >= 0 { return count }
    let failure = Errno(rawValue: errno)
    guard failure == .resourceTemporarilyUnavailable || failure == .interrupted else { throw failure }
    return 0
  }

  /// Waits until something can be read or written, or `nanoseconds` have passed.
  /// - Returns: what became of each; empty if nothing did.
  static func wait(_ descriptors: inout [pollfd], nanoseconds: UInt64) -> Bool {
    let milliseconds = CInt(clamping: (nanoseconds + 999_999) / 1_000_000)
    return unsafe poll(&descriptors, nfds_t(descriptors.count), milliseconds) > 0
  }
}
