// SPDX-License-Identifier: Apache-2.0

/// Reads and prints amounts of bytes as people write them.
public enum ByteCount {
  private static let units: [(suffix: String, scale: UInt64)] = [
    ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("tib", 1 << 40),
    ("kb", 1000), ("mb", 1_000_000), ("gb", 1_000_000_000), ("tb", 1_000_000_000_000),
    ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40), ("b", 1),
  ]

  /// A whole number of bytes: decimal or 0x hexadecimal, or decimal with a unit (`64MiB`, `1G` = 1 GiB, `10MB`).
  /// - Returns: nil if `text` is none of these or exceeds 64 bits.
  public static func parse(_ text: String) -> UInt64? {
    let lower = text.lowercased().filter { $0 != " " && $0 != "_" }
    if lower.hasPrefix("0x") { return number(lower.dropFirst(2), radix: 16) }
    for unit in units where lower.hasSuffix(unit.suffix) {
      guard let value = number(lower.dropLast(unit.suffix.count), radix: 10) else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: unit.scale)
      return overflow ? nil : product
    }
    return number(lower[...], radix: 10)
  }

  /// Bytes per second, typed as bytes (`100MiB`) or as a link's bits (`1Gbit`, `500Mbit`), with or without `/s` or `ps`.
  /// - Returns: nil if `text` is neither, or less than one byte.
  public static func parseRate(_ text: String) -> UInt64? {
    var rate = text.lowercased()
    for suffix in ["/s", "ps"] where rate.hasSuffix(suffix) { rate = String(rate.dropLast(2)) }
    for (suffix, bits) in [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3)] where rate.hasSuffix(suffix) {
      guard let value = Double(rate.dropLast(4)), value > 0, value < 1e6, value * bits >= 8 else { return nil }
      return UInt64(value * bits / 8)
    }
    guard let bytes = parse(rate), bytes > 0 else { return nil }
    return bytes
  }

  /// Digits only: Swift's own initialiser would take a sign.
  private static func number(_ digits: Substring, radix: Int) -> UInt64? {
    digits.first == "+" || digits.first == "-" ? nil : UInt64(digits, radix: radix)
  }

  /// With three significant digits and a binary unit: `512 B`, `1.50 GiB`.
  public static func format(_ bytes: UInt64) -> String { format(Double(bytes)) }

  /// As above, for rates and means.
  public static func format(_ bytes: Double) -> String {
    guard bytes.isFinite, bytes >= 0 else { return "–" }
    if bytes < 999.5 { return "\(Int(bytes.rounded())) B" }
    var value = bytes / 1024
    var unit = "KiB"
    // 999.5 would be printed as 1000: that is one of the next unit.
    for next in ["MiB", "GiB", "TiB"] where value >= 999.5 {
      value /= 1024
      unit = next
    }
    return "\(Decimal.fixed(value, digits: value < 9.995 ? 2 : value < 99.95 ? 1 : 0)) \(unit)"
  }
}

/// Decimal numbers without a formatter, which would bring in a locale and a large library.
public enum Decimal {
  /// `value` rounded to `digits` places after the point.
  public static func fixed(_ value: Double, digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    guard value.isFinite, abs(value) < 1e15, abs(value) * scale < 1e18 else { return "–" }
    let scaled = Int64((abs(value) * scale).rounded())
    let whole = scaled / Int64(scale)
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(whole)" }
    let fraction = String(scaled % Int64(scale))
    return "\(sign)\(whole).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
  }
}
