// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageKernels
import TestSupport
import Testing
import Workload

@Suite("What a guest's memory holds")
struct ContentTests {
  /// Bytes of input for each byte that a codec makes of it, in frames of 96 pages.
  private static func ratio(_ codec: any FrameCodec, _ bytes: [UInt8]) -> Double {
    var encoded = 0
    for start in stride(from: 0, to: bytes.count, by: 96 * pageByteCount) {
      let frame = Array(bytes[start..<min(start + 96 * pageByteCount, bytes.count)])
      var room = [UInt8](repeating: 0, count: frame.count)
      let length = frame.withRawSpan { source in room.withMutableRawSpan { codec.encode(source, into: &$0) } }
      encoded += length ?? frame.count
    }
    return Double(bytes.count) / Double(encoded)
  }

  private static func content(_ mix: ContentMix, pageCount: Int, seed: UInt64) throws -> [UInt8] {
    let memory = try TestMemory([pageCount])
    let guest = try WorkloadGuest(WorkloadPlan(pattern: .idle, seed: seed, mix: mix), memory: memory.memory)
    guest.fill()
    return memory.bytes
  }

  @Test("Text compresses about as text does, and no better with a long memory", arguments: [1, 2] as [UInt64])
  func text(seed: UInt64) throws {
    let bytes = try Self.content(ContentMix(zero: 0, text: 100, random: 0), pageCount: 768, seed: seed)
    let short = Self.ratio(try ZstdCodec(level: 1), bytes)
    let long = Self.ratio(try ZstdLongCodec(level: 1), bytes)
    #expect((2.5...3.5).contains(short), "zstd:1 makes \(short) to one")
    #expect(long < short * 1.1, "zstd-long:1 makes \(long) to one, zstd:1 \(short)")
  }

  @Test("Random pages do not compress")
  func random() throws {
    let bytes = try Self.content(ContentMix(zero: 0, text: 0, random: 100), pageCount: 256, seed: 3)
    #expect(Self.ratio(try ZstdCodec(level: 1), bytes) < 1.01)
  }

  @Test("Memory is mixed as planned, in runs of 64 KiB", arguments: [4, 5] as [UInt64])
  func mix(seed: UInt64) throws {
    let bytes = try Self.content(.standard, pageCount: 4096, seed: seed)
    let isZero = (0..<4096).map { page in
      bytes[page * pageByteCount..<page * pageByteCount + 64].allSatisfy { $0 == 0 }
    }
    let zeros = isZero.filter { $0 }.count
    #expect((4096 * 17 / 100...4096 * 33 / 100).contains(zeros), "\(zeros) of 4096 pages are zero, seed \(seed)")
    for page in isZero.indices { #expect(isZero[page] == isZero[page / 16 * 16], "page \(page)") }
  }

  @Test("A seed makes the same memory again, another seed other memory")
  func seeds() throws {
    let first = try Self.content(.standard, pageCount: 64, seed: 6)
    #expect(try Self.content(.standard, pageCount: 64, seed: 6) == first)
    #expect(try Self.content(.standard, pageCount: 64, seed: 7) != first)
  }

  @Test("What is rewritten compresses as planned", arguments: [(0, 0.99...1.01), (100, 2.3...3.6)])
  func rewritten(compressibility: Int, expected: ClosedRange<Double>) throws {
    let memory = try TestMemory([256])
    var plan = WorkloadPlan(pattern: .sequential, compressibility: compressibility)
    plan.mix = ContentMix(zero: 100, text: 0, random: 0)
    let guest = try WorkloadGuest.begun(plan, memory, writes: 600)
    let ratio = Self.ratio(try ZstdCodec(level: 1), memory.bytes)
    #expect(expected.contains(ratio), "\(ratio) to one")
    guest.stop()
  }
}
