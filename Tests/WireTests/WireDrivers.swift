// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import Wire

/// Feeds any bytes to the wire's decoders and checks what they accept. Shared by the corpus tests and the fuzzers.
///
/// A driver returns nil if the bytes were refused by a thrown error or accepted correctly, and otherwise a sentence
/// that says what was wrong with the accepted value. Bytes that are refused for a checksum only are tried again with
/// the checksum that they should have, so that a fuzzer reaches what lies behind it.
enum WireDrivers {
  /// Three blocks: two full spans and a part of one, exactly one span, one page.
  static let blocks = [
    RAMBlock(name: "pc.ram", guestPhysicalBase: 0, byteCount: 130 * 4096),
    RAMBlock(name: "vga", guestPhysicalBase: 1 << 30, byteCount: 64 * 4096),
    RAMBlock(name: "bios", guestPhysicalBase: 4 << 30, byteCount: 4096),
  ]

  /// A frame: header, then body.
  static func frame(_ input: [UInt8]) -> String? {
    guard let table = try? BlockTable(blocks) else { return "the driver's own blocks are wrong" }
    return frame(input, table) ?? repairedFrame(input).flatMap { frame($0, table) }
  }

  /// A control message: header, then body.
  static func control(_ input: [UInt8]) -> String? {
    message(input) ?? repairedMessage(input).flatMap(message)
  }

  private static func frame(_ input: [UInt8], _ table: BlockTable) -> String? {
    do throws(WireError) {
      let bytes = unsafe input.span.bytes
      let header = try FrameHeader(decoding: bytes)
      var copy = [UInt8](repeating: 0xee, count: FrameHeader.byteCount)
      encode(header, into: &copy)
      let again = unsafe try FrameHeader(decoding: copy.span.bytes)
      guard again == header else { return "a header changed by encoding it again" }
      let end = min(bytes.byteCount, FrameHeader.byteCount + header.bodyByteCount)
      var body = FrameBody()
      try body.decode(
        bytes.extracting(FrameHeader.byteCount..<end), header: header, blocks: table, features: [.deltas, .lanesMove])
      return try problem(in: body, of: header, table)
    } catch {
      return error.description.isEmpty ? "an error without a description" : nil
    }
  }

  private static func problem(
    in body: FrameBody, of header: FrameHeader, _ table: BlockTable
  ) throws(WireError) -> String? {
    var zeroPages = 0
    var dataPages = 0
    var deltaPages = 0
    for record in body.records {
      var copy = [UInt8](repeating: 0xee, count: SpanRecord.byteCount)
      encode(record, into: &copy)
      let again = unsafe try SpanRecord(decoding: copy.span.bytes, blocks: table)
      guard again == record else { return "a record changed by encoding it again" }
      switch record {
      case .span(let block, let index, let zero, let data, let delta):
        guard (zero | data | delta) & ~table.blocks[block].pages(ofSpan: index) == 0 else {
          return "a page outside its block"
        }
        zeroPages += zero.nonzeroBitCount
        dataPages += data.nonzeroBitCount
        deltaPages += delta.nonzeroBitCount
      case .zeroRun(let block, let index, let count):
        for span in index..<index + count { zeroPages += table.blocks[block].pages(ofSpan: span).nonzeroBitCount }
      }
    }
    guard zeroPages == body.zeroPageCount, dataPages == body.dataPageCount, deltaPages == body.deltaPageCount else {
      return "pages are counted wrongly"
    }
    guard dataPages * PageGeometry.pageByteCount == header.dataDecodedByteCount else { return "data without pages" }
    guard body.data.lowerBound == header.recordCount * SpanRecord.byteCount,
      body.data.count == header.dataByteCount, body.delta.lowerBound == body.data.upperBound,
      body.delta.count == header.deltaByteCount,
      body.delta.upperBound == header.bodyByteCount
    else { return "the payload's parts are not where they should be" }
    return nil
  }

  private static func message(_ input: [UInt8]) -> String? {
    do throws(WireError) {
      let header = try ControlHeader(decoding: Array(input.prefix(ControlHeader.byteCount)))
      let whole = Array(input.prefix(ControlHeader.byteCount + header.bodyByteCount))
      let message = try ControlMessage(decoding: Array(whole.dropFirst(ControlHeader.byteCount)), header: header)
      return message.encoded() == whole ? nil : "a message changed by encoding it again"
    } catch {
      return error.description.isEmpty ? "an error without a description" : nil
    }
  }

  /// The same frame with the checksums that it should have, or nil if it is too short.
  static func repairedFrame(_ input: [UInt8]) -> [UInt8]? {
    guard input.count >= FrameHeader.byteCount else { return nil }
    var frame = input
    let length = (number(frame, 20) * SpanRecord.byteCount) + number(frame, 24) + number(frame, 28)
    let body = frame[FrameHeader.byteCount..<min(frame.count, FrameHeader.byteCount + length)]
    put(PageHash.checksum(Array(body)), in: &frame, at: 48)
    put(UInt32(truncatingIfNeeded: PageHash.checksum(Array(frame[..<60]))), in: &frame, at: 60)
    return frame
  }

  /// The same message with the length and the checksum that it should have, or nil if it is too short.
  static func repairedMessage(_ input: [UInt8]) -> [UInt8]? {
    guard input.count >= ControlHeader.byteCount else { return nil }
    var message = input
    let body = Array(message[ControlHeader.byteCount...])
    put(UInt32(body.count), in: &message, at: 8)
    put(UInt32(truncatingIfNeeded: PageHash.checksum(body)), in: &message, at: 12)
    return message
  }

  private static func number(_ bytes: [UInt8], _ offset: Int) -> Int {
    (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
  }

  /// Writes `value` little-endian at `offset`.
  static func put<Value: FixedWidthInteger>(_ value: Value, in bytes: inout [UInt8], at offset: Int) {
    for index in 0..<Value.bitWidth / 8 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
  }

  /// Writes `header` to the first bytes.
  static func encode(_ header: FrameHeader, into bytes: inout [UInt8]) {
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    header.encode(into: &raw)
  }

  /// Writes `record` to the first bytes.
  static func encode(_ record: SpanRecord, into bytes: inout [UInt8]) {
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    record.encode(into: &raw)
  }
}
