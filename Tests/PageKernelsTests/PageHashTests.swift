// SPDX-License-Identifier: Apache-2.0
import PageKernels
import Testing

/// A page whose content anyone can make again: byte *i* is 7·i + 1.
let patternPage = (0..<pageByteCount).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) }

@Suite("Page hashes")
struct PageHashTests {
  /// Computed with libxxhash's own program interface.
  @Test(
    "A checksum is XXH3-64 of the bytes",
    arguments: [
      ([], 0x2d06_8005_38d3_94c2), (Array("abc".utf8), 0x78af_5f94_892f_3950),
      (patternPage, 0x99e3_c931_dab3_e711),
    ] as [([UInt8], UInt64)])
  func knownAnswers(bytes: [UInt8], expected: UInt64) {
    #expect(PageHash.checksum(bytes) == expected)
    let ofSpan = withSpan(bytes) { PageHash.checksum($0) }
    #expect(ofSpan == expected)
  }

  @Test("A checksum of part of a buffer is that of the same bytes alone", arguments: [1, 3, 64, 100])
  func part(offset: Int) {
    let buffer = [UInt8](repeating: 0xee, count: offset) + patternPage + [0xee]
    let checksum = withSpan(buffer, offset..<offset + pageByteCount) { PageHash.checksum($0) }
    #expect(checksum == 0x99e3_c931_dab3_e711)
  }

  @Test("Any byte that changes changes the checksum")
  func everyByteCounts() {
    var page = patternPage
    var seen = Set([PageHash.checksum(page)])
    for byte in page.indices {
      page[byte] ^= 0x01
      seen.insert(PageHash.checksum(page))
      page[byte] ^= 0x01
    }
    #expect(seen.count == 4097)
  }
}
