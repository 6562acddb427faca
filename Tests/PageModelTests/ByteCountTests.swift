// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing

@Suite("Amounts of bytes")
struct ByteCountTests {
  @Test(
    "Amounts are read as people write them",
    arguments: [
      ("0", 0), ("4096", 4096), ("4_096", 4096), ("512B", 512), ("512 b", 512), ("1k", 1024), ("1K", 1024),
      ("64MiB", 67_108_864), ("64 mib", 67_108_864), ("64M", 67_108_864), ("1G", 1_073_741_824),
      ("3GiB", 3_221_225_472), ("2T", 2_199_023_255_552), ("2TiB", 2_199_023_255_552), ("7KiB", 7168),
      ("10kB", 10_000), ("10MB", 10_000_000), ("10GB", 10_000_000_000), ("1TB", 1_000_000_000_000),
      ("0x1000", 4096), ("0X1000", 4096), ("0xB", 11), ("0xffffffffffffffff", .max), ("18446744073709551615", .max),
      ("16777215TiB", 18_446_742_974_197_923_840),
    ] as [(String, UInt64)])
  func parses(text: String, expected: UInt64) {
    #expect(ByteCount.parse(text) == expected)
  }

  @Test(
    "What is no amount is not read as one",
    arguments: [
      "", " ", "_", "k", "MiB", "B", "0x", "0xg", "0x1k", "1.5G", "-1", "-1k", "1e3", "abc", "1PiB", "1 KiBB", "0b11",
      "18446744073709551616", "16777216TiB", "18014398509481984K", "0x10000000000000000", "1K1", "٣",
    ])
  func refuses(text: String) {
    #expect(ByteCount.parse(text) == nil)
  }

  @Test(
    "Amounts are printed with a binary unit",
    arguments: [
      (0, "0 B"), (1, "1 B"), (512, "512 B"), (999, "999 B"), (1000, "0.98 KiB"), (1024, "1.00 KiB"),
      (1536, "1.50 KiB"), (10_240, "10.0 KiB"), (102_400, "100 KiB"), (67_108_864, "64.0 MiB"),
      (1_610_612_736, "1.50 GiB"), (2_199_023_255_552, "2.00 TiB"), (.max, "16777216 TiB"),
    ] as [(UInt64, String)])
  func formats(bytes: UInt64, expected: String) {
    #expect(ByteCount.format(bytes) == expected)
  }

  @Test("Rounding up does not add a digit", arguments: [(10_239, "10.0 KiB"), (102_395, "100 KiB")])
  func roundingKeepsThreeDigits(bytes: UInt64, expected: String) {
    #expect(ByteCount.format(bytes) == expected)
  }

  @Test("A printed amount is within one percent of the truth and has at most three digits", arguments: [11, 12])
  func formatIsClose(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<2000 {
      let bytes = UInt64.random(in: 1..<(1000 << 40), using: &generator) >> UInt64.random(in: 0..<50, using: &generator)
      let text = ByteCount.format(bytes)
      let parts = text.split(separator: " ")
      try #require(parts.count == 2, "\(bytes) is printed as \"\(text)\", seed \(seed)")
      let value = try #require(Double(parts[0]), "\(bytes) is printed as \"\(text)\", seed \(seed)")
      let scale = try #require(ByteCount.parse("1" + parts[1]), "\(bytes) is printed as \"\(text)\", seed \(seed)")
      let error = abs(value * Double(scale) - Double(bytes))
      #expect(error <= Double(bytes) * 0.01, "\(bytes) is printed as \"\(text)\", seed \(seed)")
      #expect(parts[0].count { $0 != "." } <= 3, "\(bytes) is printed as \"\(text)\", seed \(seed)")
    }
  }

  @Test("A rate that is not a number is printed, not a trap")
  func notANumber() async {
    await #expect(processExitsWith: .success) { _ = ByteCount.format(Double.nan) }
  }
}
