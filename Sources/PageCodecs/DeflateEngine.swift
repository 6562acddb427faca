// SPDX-License-Identifier: Apache-2.0
import CDeflateEngines

/// A library that codes deflate.
enum DeflateEngine: CaseIterable, Sendable {
  /// igzip of Intel's ISA-L, loaded when the process first asks for it, if it is installed.
  case isal
  /// zlib, always there.
  case zlib

  /// Version of the library in use, or nil if it is not present.
  var version: String? {
    // SAFETY: the string is NUL-terminated and stays for ever.
    unsafe de_engine_version(raw).map { unsafe String(cString: $0) }
  }

  var isPresent: Bool { de_engine_presence(raw) == DE_PRESENT }

  /// The levels that it encodes at.
  var levels: ClosedRange<Int> {
    switch self {
    case .isal: 0...3
    case .zlib: 1...9
    }
  }

  /// The engine for encoding at `level` of `deflate`. Where igzip has no such level or is not present, zlib.
  static func encoding(level: Int) -> DeflateEngine {
    DeflateEngine.isal.levels.contains(level) && DeflateEngine.isal.isPresent ? .isal : .zlib
  }

  /// The engine for decoding.
  static var decoding: DeflateEngine { DeflateEngine.isal.isPresent ? .isal : .zlib }

  /// What is used, for people.
  static func library(isal: String?, zlib: String) -> String {
    guard let isal else { return "zlib \(zlib)" }
    return "ISA-L \(isal) (levels 0-3, decoding), zlib \(zlib) (levels 4-9)"
  }

  /// What brings ISA-L, or nil if it is present.
  static var advice: String? {
    switch de_engine_presence(DE_ISAL) {
    case DE_NOT_INSTALLED: "apt-get install libisal2: several times as fast at levels 0 to 3, and twice at decoding"
    case DE_NOT_BUILT_IN: "built without ISA-L, which is several times as fast: install libisal-dev and build anew"
    default: nil
    }
  }

  var name: String {
    switch self {
    case .isal: "ISA-L"
    case .zlib: "zlib"
    }
  }

  var raw: de_engine {
    switch self {
    case .isal: DE_ISAL
    case .zlib: DE_ZLIB
    }
  }
}
