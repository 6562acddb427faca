// SPDX-License-Identifier: Apache-2.0

/// What a stream says first, so that a stranger's is not taken for one: 16 random bytes in hexadecimal.
enum StreamToken {
  static let byteCount = 32

  static func random() -> String {
    var generator = SystemRandomNumberGenerator()
    return hexadecimal(generator.next()) + hexadecimal(generator.next())
  }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
