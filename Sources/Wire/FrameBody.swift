// SPDX-License-Identifier: Apache-2.0
import PageKernels
public import PageModel

/// A frame's records and the parts of its payload, checked as a whole before any of it is applied.
///
/// Holds numbers only; the bytes stay where the caller received them.
public struct FrameBody {
  /// The records, in order. Cleared and filled again for every frame, so that nothing is allocated once warm.
  public private(set) var records: [SpanRecord] = []
  /// Byte ranges of the payload's parts within the body.
  public private(set) var data = 0..<0
  public private(set) var delta = 0..<0
  /// Pages of each class.
  public private(set) var zeroPageCount = 0
  public private(set) var dataPageCount = 0
  public private(set) var deltaPageCount = 0

  /// An empty body with room for the most records that a frame can have.
  public init() { records.reserveCapacity(WireLimits.frameRecordCountMax) }

  /// Checks `body` against `header` and takes its records.
  ///
  /// After this, every page named exists, no page of a record is in two classes, the checksum holds, and the data
  /// part decodes to exactly the data pages. The payload itself is still encoded, or not even received.
  /// - Parameters:
  ///   - body: what the checksum covers, ``FrameHeader/summedByteCount`` bytes.
  ///   - features: what the session has agreed on.
  public mutating func decode(
    _ body: RawSpan, header: FrameHeader, blocks: BlockTable, features: SessionFeatures
  ) throws(WireError) {
    guard body.byteCount == header.summedByteCount else {
      throw .lengthMismatch(what: "a frame's body", found: body.byteCount, expected: header.summedByteCount)
    }
    guard features.contains(.unsummedData) || !header.flags.contains(.dataUnsummed) else {
      throw .unknownFlags(UInt32(header.flags.rawValue))
    }
    guard features.contains(.lanesMove) || header.type != .laneMoved else {
      throw .unknownFrameType(header.type.rawValue)
    }
    guard PageHash.checksum(body) == header.bodyChecksum else { throw .bodyCorrupt }
    records.removeAll(keepingCapacity: true)
    zeroPageCount = 0
    dataPageCount = 0
    deltaPageCount = 0
    for number in 0..<header.recordCount {
      let start = number * SpanRecord.byteCount
      let record = try SpanRecord(decoding: body.extracting(start..<start + SpanRecord.byteCount), blocks: blocks)
      try count(record, blocks: blocks)
      records.append(record)
    }
    guard dataPageCount * PageGeometry.pageByteCount == header.dataDecodedByteCount else {
      throw .lengthMismatch(
        what: "a frame's decoded data", found: header.dataDecodedByteCount,
        expected: dataPageCount * PageGeometry.pageByteCount)
    }
    let payload = header.recordCount * SpanRecord.byteCount
    data = payload..<payload + header.dataByteCount
    delta = data.upperBound..<data.upperBound + header.deltaByteCount
    guard features.contains(.deltas) || deltaPageCount == 0 && delta.isEmpty else { throw .deltaNotNegotiated }
    // The lengths inside are checked when the part is decoded; that it is there at all can be checked here.
    guard (deltaPageCount == 0) == (header.deltaDecodedByteCount == 0) else {
      throw .lengthMismatch(
        what: "a frame's decoded deltas", found: header.deltaDecodedByteCount,
        expected: deltaPageCount * (DeltaPart.lengthByteCount + 1))
    }
  }

  private mutating func count(_ record: SpanRecord, blocks: BlockTable) throws(WireError) {
    switch record {
    case .span(_, _, let zero, let data, let delta):
      zeroPageCount += zero.nonzeroBitCount
      dataPageCount += data.nonzeroBitCount
      // Most frames have none, and counting bits takes a dozen instructions on the baseline CPU.
      if delta != 0 { deltaPageCount += delta.nonzeroBitCount }
    case .zeroRun(let block, let index, let count):
      let firstPage = index * PageGeometry.pagesPerSpan
      zeroPageCount += min(count * PageGeometry.pagesPerSpan, blocks.pageCount(block: block) - firstPage)
    }
  }
}
