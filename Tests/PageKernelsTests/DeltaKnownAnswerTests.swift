// SPDX-License-Identifier: Apache-2.0
import PageKernels
import Testing

@Suite("Deltas with known answers")
struct DeltaKnownAnswerTests {
  /// Pages of zeros, but for some bytes, and the delta between them.
  struct Answer: Sendable, CustomTestStringConvertible {
    let name: String
    let base: [Int: [UInt8]]
    let page: [Int: [UInt8]]
    let delta: [UInt8]

    var testDescription: String { name }

    static func content(_ parts: [Int: [UInt8]]) -> [UInt8] {
      var content = [UInt8](repeating: 0, count: pageByteCount)
      for (at, bytes) in parts { content.replaceSubrange(at..<at + bytes.count, with: bytes) }
      return content
    }
  }

  /// The first is the example of QEMU's own description of the format; the others were worked out by hand.
  static let answers = [
    Answer(
      name: "QEMU's example",
      base: [
        1001: [5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x10, 0x11, 0x12, 0x13, 0x68, 0, 0, 0x6b, 0, 0x6d]
      ],
      page: [1001: [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x68, 0, 0, 0x67, 0, 0x69]],
      delta: [0xe9, 7, 0xf, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 3, 1, 0x67, 1, 1, 0x69]),
    Answer(name: "the first byte", base: [:], page: [0: [0xab]], delta: [0x00, 0x01, 0xab]),
    Answer(name: "the last byte", base: [:], page: [4095: [0xab]], delta: [0xff, 0x1f, 0x01, 0xab]),
    Answer(
      name: "the first and the last byte", base: [0: [1], 4095: [2]], page: [:],
      delta: [0x00, 0x01, 0x00, 0xfe, 0x1f, 0x01, 0x00]),
    Answer(name: "127 bytes kept", base: [:], page: [127: [9]], delta: [0x7f, 0x01, 0x09]),
    Answer(name: "128 bytes kept", base: [:], page: [128: [9]], delta: [0x80, 0x01, 0x01, 0x09]),
    Answer(
      name: "127 bytes replaced", base: [:], page: [16: Array(repeating: 7, count: 127)],
      delta: [0x10, 0x7f] + Array(repeating: 7, count: 127)),
    Answer(
      name: "128 bytes replaced", base: [:], page: [16: Array(repeating: 7, count: 128)],
      delta: [0x10, 0x80, 0x01] + Array(repeating: 7, count: 128)),
    Answer(
      name: "a whole page", base: [:], page: [0: Array(repeating: 0x5a, count: 4096)],
      delta: [0x00, 0x80, 0x20] + Array(repeating: 0x5a, count: 4096)),
    Answer(name: "nothing", base: [3: [1]], page: [3: [1]], delta: []),
  ]

  @Test("The delta is the one that was worked out", arguments: KernelTier.available, answers)
  func answer(tier: KernelTier, answer: Answer) {
    let (base, page) = (Answer.content(answer.base), Answer.content(answer.page))
    #expect(DeltaCall.problem(base, page, expected: answer.delta, tier: tier) == nil, "\(tier), \(answer.name)")
    #expect(Reference.delta(from: base, to: page) == answer.delta, "the reference, \(answer.name)")
  }
}
