// SPDX-License-Identifier: Apache-2.0
import PageModel
import Wire

extension Case {
  /// Span records, a frame's worth at a time: one record alone is too few instructions for a percentage.
  static var record: [Case] {
    [
      Case(
        name: "record/encode-126", byteCount: 0,
        variants: [
          .gated("encode") {
            let records = SampleFrame.records(.mixed)
            let bytes = try Pages(count: 1)
            return { encodeRecords(records, bytes, $0) }
          }
        ]),
      Case(
        name: "record/decode-126", byteCount: 0,
        variants: [
          .gated("decode") {
            let bytes = try Pages(count: 1)
            let blocks = try SampleFrame.blocks()
            _ = encodeRecords(SampleFrame.records(.mixed), bytes, 1)
            return { decodeRecords(bytes, blocks, $0) }
          }
        ]),
    ]
  }
}

@inline(never)
private func encodeRecords(_ records: [SpanRecord], _ bytes: Pages, _ times: Int) -> UInt64 {
  bytes.write { span in
    for _ in 0..<times {
      for index in records.indices {
        var target = span._mutatingExtracting(
          index * SpanRecord.byteCount..<(index + 1) * SpanRecord.byteCount)
        records[index].encode(into: &target)
      }
    }
    return UInt64(records.count)
  }
}

@inline(never)
private func decodeRecords(_ bytes: Pages, _ blocks: BlockTable, _ times: Int) -> UInt64 {
  bytes.read { span in
    var seen: UInt64 = 0
    for _ in 0..<times {
      for index in 0..<WireLimits.frameRecordCountMax {
        let start = index * SpanRecord.byteCount
        do throws(WireError) {
          switch try SpanRecord(decoding: span.extracting(start..<start + SpanRecord.byteCount), blocks: blocks) {
          case .span(_, let index, let zero, let data, _): seen &+= zero ^ data ^ UInt64(index)
          case .zeroRun(_, _, let count): seen &+= UInt64(count)
          }
        } catch { fatalError("a sample record was refused: \(error)") }
      }
    }
    return seen
  }
}
