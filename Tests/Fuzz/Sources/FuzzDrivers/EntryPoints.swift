// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageCodecs

// What the fuzzers' C files call, one per decoder. An accepted value that is wrong ends the process, which libFuzzer
// takes for a finding.

@c(pageferry_fuzz_frame)
public func fuzzFrame(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(WireDrivers.frame(unsafe copy(data, size)))
}

@c(pageferry_fuzz_control)
public func fuzzControl(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(WireDrivers.control(unsafe copy(data, size)))
}

@c(pageferry_fuzz_xbzrle)
public func fuzzXBZRLE(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(DeltaDrivers.xbzrle(unsafe copy(data, size)))
}

@c(pageferry_fuzz_qemu_stream)
public func fuzzQEMUStream(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(StreamDrivers.stream(unsafe copy(data, size)))
}

@c(pageferry_fuzz_qemu_multifd)
public func fuzzQEMUMultifd(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(StreamDrivers.multifd(unsafe copy(data, size)))
}

@c(pageferry_fuzz_departing_channel)
public func fuzzDepartingChannel(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(ChannelDriver.run(unsafe copy(data, size)))
}

@c(pageferry_fuzz_relay_messages)
public func fuzzRelayMessages(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  report(RelayDriver.run(unsafe copy(data, size)))
}

@c(pageferry_fuzz_lz4)
public func fuzzLZ4(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt { unsafe lz4.run(data, size) }

@c(pageferry_fuzz_zstd)
public func fuzzZstd(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt { unsafe zstd.run(data, size) }

@c(pageferry_fuzz_zstd_long)
public func fuzzZstdLong(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt { unsafe zstdLong.run(data, size) }

@c(pageferry_fuzz_deflate)
public func fuzzDeflate(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt { unsafe deflate.run(data, size) }

private let lz4 = OneThread(LZ4Codec.self)
private let zstd = OneThread(ZstdCodec.self)
private let zstdLong = OneThread(ZstdLongCodec.self)
private let deflate = OneThread(DeflateCodec.self)

/// A codec's driver, kept from input to input as a channel keeps its codec.
private struct OneThread: @unchecked Sendable {
  // SAFETY: libFuzzer runs every input on one thread.
  private let driver: CodecDriver

  init(_ type: any FrameCodec.Type) {
    do { driver = try CodecDriver(type) } catch { fatalError("\(error)") }
  }

  func run(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt { report(driver.run(unsafe copy(data, size))) }
}

private func copy(_ data: UnsafePointer<UInt8>?, _ size: Int) -> [UInt8] {
  // SAFETY: libFuzzer hands over `size` readable bytes.
  unsafe Array(UnsafeBufferPointer(start: data, count: size))
}

private func report(_ problem: String?) -> CInt {
  if let problem { fatalError(problem) }
  return 0
}
