// SPDX-License-Identifier: Apache-2.0

/// Fixed-width little-endian fields at known offsets, for frame headers and records: no allocation.
extension RawSpan {
  /// The integer at `offset`, which the caller has checked.
  @inline(__always)
  func load<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as _: Value.Type = Value.self) -> Value {
    precondition(offset >= 0 && offset + MemoryLayout<Value>.size <= byteCount, "field leaves the span")
    // SAFETY: in bounds by the precondition; every bit pattern is a valid integer.
    return unsafe Value(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: Value.self))
  }
}

extension MutableRawSpan {
  /// Stores `value` at `offset`, which the caller has checked.
  @inline(__always)
  mutating func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
    precondition(offset >= 0 && offset + MemoryLayout<Value>.size <= byteCount, "field leaves the span")
    // SAFETY: in bounds by the precondition; integers are trivially stored unaligned.
    unsafe withUnsafeMutableBytes { unsafe $0.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self) }
  }
}

/// Writes a control message's fields one after the other.
struct MessageWriter {
  private(set) var bytes: [UInt8] = []

  mutating func put<Value: FixedWidthInteger>(_ value: Value) {
    for shift in stride(from: 0, to: Value.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  /// A text with its length (u16) before it, cut at `limit` bytes without breaking a character.
  mutating func put(text: String, limit: Int = WireLimits.textByteCountMax) {
    var kept = Array(text.utf8.prefix(limit))
    while String(validating: kept, as: UTF8.self) == nil { kept.removeLast() }
    put(UInt16(kept.count))
    bytes += kept
  }

  /// Bytes with their length (u32) before them.
  mutating func put(blob: [UInt8]) {
    put(UInt32(blob.count))
    bytes += blob
  }
}

/// Reads a control message's fields; every read is checked, and the message must be used up.
struct MessageReader {
  private let bytes: [UInt8]
  private var offset = 0
  private let what: String

  init(_ bytes: [UInt8], what: String) {
    self.bytes = bytes
    self.what = what
  }

  mutating func get<Value: FixedWidthInteger>(_: Value.Type = Value.self) throws(WireError) -> Value {
    let size = Value.bitWidth / 8
    guard bytes.count - offset >= size else { throw .truncated(what: what) }
    var value: Value = 0
    for index in 0..<size { value |= Value(truncatingIfNeeded: bytes[offset + index]) << (8 * index) }
    offset += size
    return value
  }

  mutating func getText(limit: Int = WireLimits.textByteCountMax) throws(WireError) -> String {
    let count = Int(try get(UInt16.self))
    guard count <= limit else { throw .tooLong(what: "a text in \(what)", found: count, allowed: limit) }
    let raw = try getBytes(count)
    guard let text = String(validating: raw, as: UTF8.self) else { throw .badText(what: "a text in \(what)") }
    return text
  }

  mutating func getBlob(limit: Int) throws(WireError) -> [UInt8] {
    let count = Int(try get(UInt32.self))
    guard count <= limit else { throw .tooLong(what: "a blob in \(what)", found: count, allowed: limit) }
    return try getBytes(count)
  }

  mutating func getBytes(_ count: Int) throws(WireError) -> [UInt8] {
    guard bytes.count - offset >= count else { throw .truncated(what: what) }
    defer { offset += count }
    return Array(bytes[offset..<offset + count])
  }

  func finish() throws(WireError) {
    guard offset == bytes.count else { throw .trailingBytes(what: what, count: bytes.count - offset) }
  }
}
