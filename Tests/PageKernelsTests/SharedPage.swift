// SPDX-License-Identifier: Apache-2.0
import Glibc
import TestSupport

/// One page, mapped twice: what is written through one mapping changes under whoever reads the other.
@safe final class SharedPage: @unchecked Sendable {
  private let guest: UnsafeMutableRawPointer
  private let host: UnsafeMutableRawPointer

  init() {
    let directory = TemporaryDirectory()
    let failed = unsafe UnsafeMutableRawPointer(bitPattern: -1)
    guard let path = try? directory.write([UInt8](repeating: 0, count: pageByteCount), to: "page"),
      case let file = unsafe open(path, O_RDWR), file >= 0,
      let guest = unsafe mmap(nil, pageByteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), unsafe guest != failed,
      let host = unsafe mmap(nil, pageByteCount, PROT_READ, MAP_SHARED, file, 0), unsafe host != failed
    else { fatalError("cannot map a file: \(errno)") }
    close(file)
    unsafe self.guest = guest
    unsafe self.host = host
  }

  deinit {
    unsafe munmap(guest, pageByteCount)
    unsafe munmap(host, pageByteCount)
  }

  func write(_ value: UInt8, at offset: Int) {
    unsafe guest.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
  }

  /// Writes `bytes` as fast as the C library can.
  func write(_ bytes: [UInt8], at offset: Int) {
    precondition(offset + bytes.count <= pageByteCount, "within the page")
    unsafe memcpy(guest + offset, bytes, bytes.count)
  }

  func withSpan<Result>(_ body: (RawSpan) -> Result) -> Result {
    body(unsafe RawSpan(_unsafeStart: host, byteCount: pageByteCount))
  }
}
