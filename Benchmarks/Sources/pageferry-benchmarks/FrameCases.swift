// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import Wire

/// A frame with as many records as one can have.
struct SampleFrame {
  /// What the records say.
  enum Content {
    /// One page of data a span, the others zero.
    case onePageEach
    /// Nothing but zero pages: no payload, so that the records are what is measured.
    case zero
    /// Spans, and every eighth record a run of zero spans.
    case mixed
  }

  let blocks: BlockTable
  let header: FrameHeader
  /// Records and payload, within whole pages.
  let bytes: Pages

  init(_ content: Content) throws {
    let records = Self.records(content)
    let recordByteCount = records.count * SpanRecord.byteCount
    let dataByteCount = content == .onePageEach ? records.count * PageGeometry.pageByteCount : 0
    let bodyByteCount = recordByteCount + dataByteCount
    blocks = try Self.blocks()
    let bytes = try SampleData.random.span(pageCount: bodyByteCount / PageGeometry.pageByteCount + 1)
    bytes.fill { span in
      for index in records.indices {
        var target = span._mutatingExtracting(index * SpanRecord.byteCount..<(index + 1) * SpanRecord.byteCount)
        records[index].encode(into: &target)
      }
    }
    self.bytes = bytes
    header = FrameHeader(
      type: .pages, iteration: 1, recordCount: records.count, dataByteCount: dataByteCount,
      dataDecodedByteCount: dataByteCount, lane: 0,
      bodyChecksum: bytes.read { PageHash.checksum($0.extracting(0..<bodyByteCount)) })
  }

  /// A guest of 4 GiB in two blocks, as QEMU lays it out around the PCI hole.
  static func blocks() throws -> BlockTable {
    try BlockTable([
      RAMBlock(name: "below-4g", guestPhysicalBase: 0, byteCount: 3 << 30),
      RAMBlock(name: "above-4g", guestPhysicalBase: 4 << 30, byteCount: 1 << 30),
    ])
  }

  static func records(_ content: Content) -> [SpanRecord] {
    (0..<WireLimits.frameRecordCountMax).map { index in
      let page: PageMask = 1 << PageMask(index % PageGeometry.pagesPerSpan)
      if content == .mixed, index % 8 == 7 { return .zeroRun(block: 1, index: index * 16, count: 16) }
      return content == .zero
        ? .span(block: 0, index: index, zero: .max, data: 0, delta: 0)
        : .span(block: 0, index: index, zero: ~page, data: page, delta: 0)
    }
  }
}

extension Case {
  /// Frame headers and bodies: what each frame costs whatever it carries.
  static var frame: [Case] {
    [
      Case(
        name: "frame/header-encode-stamp", byteCount: 0,
        variants: [
          .gatedAtBestTier("encode") {
            let frame = try SampleFrame(.onePageEach)
            let bytes = try Pages(count: 1)
            return { encodeHeader(frame.header, bytes, $0) }
          }
        ]),
      Case(
        name: "frame/header-decode", byteCount: 0,
        variants: [
          .gatedAtBestTier("decode") {
            let frame = try SampleFrame(.onePageEach)
            let bytes = try Pages(count: 1)
            _ = encodeHeader(frame.header, bytes, 1)
            return { decodeHeader(bytes, $0) }
          }
        ]),
      body("frame/body-126-records", .zero),
      body("frame/body-126-records-and-pages", .onePageEach),
    ]
  }

  private static func body(_ name: String, _ content: SampleFrame.Content) -> Case {
    let pageCount = content == .onePageEach ? WireLimits.frameRecordCountMax : 0
    let decode = Variant.gatedAtBestTier("decode") {
      let frame = try SampleFrame(content)
      var body = FrameBody()
      return { decodeBody(frame, &body, $0) }
    }
    return Case(
      name: name, byteCount: pageCount * PageGeometry.pageByteCount,
      variants: pageCount > 0 ? [.memcpy(pageCount: pageCount), decode] : [decode])
  }
}

@inline(never)
private func encodeHeader(_ header: FrameHeader, _ bytes: Pages, _ times: Int) -> UInt64 {
  bytes.write { span in
    var target = span._mutatingExtracting(0..<FrameHeader.byteCount)
    for number in 0..<times {
      header.encode(into: &target)
      FrameHeader.stamp(sequence: UInt64(number), into: &target)
    }
    return UInt64(header.recordCount)
  }
}

@inline(never)
private func decodeHeader(_ bytes: Pages, _ times: Int) -> UInt64 {
  bytes.read { span in
    var seen: UInt64 = 0
    for _ in 0..<times {
      do throws(WireError) {
        let header = try FrameHeader(decoding: span.extracting(0..<FrameHeader.byteCount))
        seen &+= header.sequence &+ UInt64(header.recordCount)
      } catch { fatalError("the sample header was refused: \(error)") }
    }
    return seen
  }
}

@inline(never)
private func decodeBody(_ frame: SampleFrame, _ body: inout FrameBody, _ times: Int) -> UInt64 {
  frame.bytes.read { span in
    let bytes = span.extracting(0..<frame.header.bodyByteCount)
    var seen: UInt64 = 0
    for _ in 0..<times {
      do throws(WireError) { try body.decode(bytes, header: frame.header, blocks: frame.blocks, features: []) } catch {
        fatalError("the sample frame was refused: \(error)")
      }
      seen &+= UInt64(body.zeroPageCount + body.dataPageCount)
    }
    return seen
  }
}
