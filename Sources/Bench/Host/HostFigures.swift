// SPDX-License-Identifier: Apache-2.0

/// How fast a host is at what a migration does. Bytes a second.
public struct HostFigures: Sendable, Equatable, Codable {
  /// Reading memory that is in no cache: one thread, and all CPUs.
  public var readOne: Double
  public var readAll: Double
  /// Copying it: bytes copied.
  public var copyOne: Double
  public var copyAll: Double
  /// Finding pages of zeros.
  public var zeroScan: Double
  /// First touch of fresh memory, with huge pages and with small ones, one thread.
  public var touchHuge: Double
  public var touchSmall: Double
  public var codecs: [CodecFigures]

  public static let none = HostFigures(
    readOne: 0, readAll: 0, copyOne: 0, copyAll: 0, zeroScan: 0, touchHuge: 0, touchSmall: 0, codecs: [])

  func check() throws(BenchError) {
    try Limits.check(figures: [
      "readOne": readOne, "readAll": readAll, "copyOne": copyOne, "copyAll": copyAll, "zeroScan": zeroScan,
      "touchHuge": touchHuge, "touchSmall": touchSmall,
    ])
    try Limits.check(count: codecs.count, of: "codecs", atMost: Limits.codecs)
    for codec in codecs {
      try Limits.check(codec: codec.codec)
      try Limits.check(figures: ["encode": codec.encode, "decode": codec.decode, "ratio": codec.ratio])
    }
  }
}

/// What one core does with a codec: bytes of pages a second of its CPU time, and bytes in per byte out.
public struct CodecFigures: Sendable, Equatable, Codable {
  public var codec: String
  public var encode: Double
  public var decode: Double
  public var ratio: Double
}
