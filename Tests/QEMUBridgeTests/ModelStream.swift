// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

@testable import QEMUBridge

/// What a stream of the tests is made with.
struct Shape: Sendable, CustomTestStringConvertible {
  var name: String
  var pageBits: Int = 12
  var hasConfiguration = true
  var hasFooters = true
  var returnPath = false
  var uuid = false
  var ignoreShared = false
  var xbzrle = false
  var compress = false
  /// Multifd channels, and whether barriers are records of their own.
  var channelCount = 0
  var flushes = false
  /// `POSTCOPY_ADVISE` with this summary of page sizes.
  var adviseSummary: UInt64?
  var switchover = false
  /// Whether devices follow, or RAM is all.
  var hasTail = true

  var testDescription: String { name }

  static let all: [Shape] = [
    Shape(name: "plain"),
    Shape(name: "return path", returnPath: true, uuid: true, switchover: true),
    Shape(name: "xbzrle", xbzrle: true),
    Shape(name: "compress", compress: true),
    Shape(name: "everything", returnPath: true, uuid: true, xbzrle: true, compress: true, switchover: true),
    Shape(name: "multifd 7.2", channelCount: 2),
    Shape(name: "multifd 10", channelCount: 3, flushes: true),
    Shape(name: "ignore-shared", ignoreShared: true),
    Shape(name: "postcopy advise", returnPath: true, adviseSummary: 4096),
    Shape(name: "postcopy, huge pages", returnPath: true, adviseSummary: 4096 | 2 << 20),
    Shape(name: "huge pages and addresses", ignoreShared: true, adviseSummary: 4096 | 2 << 20),
    Shape(name: "no footers", hasFooters: false),
    Shape(name: "no footers, no tail", hasFooters: false, hasTail: false),
    Shape(name: "no configuration", hasConfiguration: false, hasFooters: false),
    Shape(name: "no tail", hasTail: false),
    Shape(name: "pages of 1 KiB", pageBits: 10, compress: true),
    Shape(name: "pages of 64 KiB", pageBits: 16, compress: true),
  ]
}

/// A valid stream, made field by field as the format's description has it, and what it means.
struct ModelStream {
  var bytes: [UInt8] = []
  var elements: [Seen] = []
  var blocks: [StreamBlock] = []
  var ram: [[UInt8]] = []
  var channels: [[UInt8]] = []
  let shape: Shape
  var page: Int { 1 << shape.pageBits }
  /// Where devices begin: before it, no prefix is a stream.
  var ramEnd = 0

  private var generator: SeededGenerator
  private var lastBlock: Int?
  private var packetNumber: UInt64 = 0
  private var payloadSizes: [UInt32] = []
  static let sectionID: UInt32 = 7

  init(_ shape: Shape, seed: UInt64, passCount: Int = 3) {
    self.shape = shape
    generator = SeededGenerator(seed: seed)
    begin()
    for pass in 0..<passCount {
      let kind: UInt8 = pass == passCount - 1 ? 3 : 2
      if kind == 3, shape.switchover { command(11, [], .switchoverStart) }
      section(kind)
    }
    ramEnd = bytes.count
    if shape.hasTail { tail() }
  }

  // MARK: Parts

  private mutating func begin() {
    emit(.header) { $0.be(UInt32(0x5145_564d)).be(UInt32(3)) }
    if shape.hasConfiguration { configuration() }
    if shape.returnPath {
      command(1, [], .openReturnPath)
      command(2, [0, 0, 0, 1], .ping(1))
    }
    if let summary = shape.adviseSummary {
      command(
        3, Bytes().be(summary).be(UInt64(page)).bytes, .postcopyAdvise(.init(summary: summary, target: UInt64(page))))
    }
    emit(.section(.start, id: Self.sectionID)) {
      $0.be(UInt8(1)).be(Self.sectionID).text("ram").be(UInt32(0)).be(UInt32(4))
    }
    blockList()
    channels = (0..<shape.channelCount).map { opening(UInt8($0)) }
    payloadSizes = Array(repeating: 0, count: shape.channelCount)
    if shape.flushes { barrier() }
    endRecords()
  }

  private mutating func configuration() {
    let shape = shape
    emit(.configuration) {
      $0.be(UInt8(7)).be(UInt32(13)).raw(Array("pc-i440fx-7.2".utf8))
      if shape.pageBits != 12 {
        $0.be(UInt8(5)).text("configuration/target-page-bits").be(UInt32(1)).be(UInt32(shape.pageBits))
      }
      if shape.ignoreShared {
        $0.be(UInt8(5)).text("configuration/capabilities").be(UInt32(1)).be(UInt32(1)).text("x-ignore-shared")
      }
      if shape.uuid { $0.be(UInt8(5)).text("configuration/uuid").be(UInt32(1)).raw(Array(0..<16)) }
    }
  }

  private mutating func blockList() {
    let names = ["pc.ram", "/rom@etc/acpi/tables", "pc.bios", String(repeating: "n", count: 255)]
    for (index, name) in names.enumerated() {
      let huge = (shape.adviseSummary ?? 0) > 4096 && index % 2 == 0
      blocks.append(
        StreamBlock(
          nameBytes: Array(name.utf8),
          byteCount: UInt64(Int.random(in: 1...(page > 4096 ? 2 : 6), using: &generator) * page),
          hostPageByteCount: huge ? 2 << 20 : nil,
          guestPhysicalAddress: shape.ignoreShared ? UInt64(index) << 32 : nil))
    }
    ram = blocks.map { [UInt8](repeating: 0, count: Int($0.byteCount)) }
    let (blocks, total) = (blocks, blocks.reduce(0) { $0 + $1.byteCount })
    emit(.blockList) {
      $0.be(total | 4)
      for block in blocks {
        $0.be(UInt8(block.nameBytes.count)).raw(block.nameBytes).be(block.byteCount)
        if let size = block.hostPageByteCount { $0.be(size) }
        if let address = block.guestPhysicalAddress { $0.be(address) }
      }
    }
  }

  private mutating func section(_ kind: UInt8) {
    emit(.section(kind == 2 ? .part : .end, id: Self.sectionID)) { $0.be(kind).be(Self.sectionID) }
    for block in blocks.indices {
      for page in 0..<ram[block].count / page where Int.random(in: 0..<3, using: &generator) > 0 {
        record(block, page * self.page)
      }
    }
    if shape.flushes { barrier() }
    endRecords()
  }

  private mutating func endRecords() {
    if shape.channelCount > 0, !shape.flushes { synchronize() }
    emit(.endOfRecords) { $0.be(UInt64(0x10)) }
    if shape.hasFooters { emit(.footer(id: Self.sectionID)) { $0.be(UInt8(0x7e)).be(Self.sectionID) } }
  }

  private mutating func barrier() {
    synchronize()
    emit(.multifdFlush) { $0.be(UInt64(0x200)) }
  }

  private mutating func tail() {
    emit(.opaque) {
      $0.be(UInt8(4)).be(UInt32(9)).text("timer").be(UInt32(0)).be(UInt32(2)).raw([1, 2, 3, 0x7e, 8, 0, 1])
      $0.be(UInt8(0)).be(UInt8(6)).be(UInt32(2)).raw(Array("{}".utf8))
    }
  }

  // MARK: Pages

  private mutating func record(_ block: Int, _ offset: Int) {
    var kinds: [PageRecord.Encoding] = [.plain, .zero]
    if shape.xbzrle { kinds += [.xbzrle, .xbzrle] }
    if shape.compress { kinds += [.compressed, .compressed] }
    let range = offset..<offset + page
    switch kinds.randomElement(using: &generator) ?? .plain {
    case .zero:
      ram[block].replaceSubrange(range, with: repeatElement(0, count: page))
      if shape.flushes { return packet(block, [], zero: [offset]) }
      record(block, offset, 2, .zero, head: [0], payload: [])
    case .plain:
      let content = content()
      ram[block].replaceSubrange(range, with: content)
      if shape.channelCount > 0 { return packet(block, [offset], zero: []) }
      record(block, offset, 8, .plain, head: [], payload: content)
    case .xbzrle:
      var content = Array(ram[block][range])
      let delta = Self.delta(&content, &generator)
      ram[block].replaceSubrange(range, with: content)
      record(block, offset, 0x40, .xbzrle, head: Bytes().be(UInt8(1)).be(UInt16(delta.count)).bytes, payload: delta)
    case .compressed:
      let content = content()
      ram[block].replaceSubrange(range, with: content)
      let stream = Zlib.stream(content, stored: page != 4096 || Bool.random(using: &generator))
      record(block, offset, 0x100, .compressed, head: Bytes().be(UInt32(stream.count)).bytes, payload: stream)
    }
  }

  private mutating func record(
    _ block: Int, _ offset: Int, _ flag: UInt64, _ encoding: PageRecord.Encoding, head: [UInt8], payload: [UInt8]
  ) {
    // A source may name the block although it need not.
    let continues = lastBlock == block && Int.random(in: 0..<8, using: &generator) > 0
    lastBlock = block
    let name = continues ? [] : [UInt8(blocks[block].nameBytes.count)] + blocks[block].nameBytes
    let before = 8 + name.count + head.count
    emit(
      .page(
        PageRecord(
          encoding: encoding, fill: 0, isContinued: continues, block: block, offset: UInt64(offset), head: before,
          payloadByteCount: payload.count))
    ) { $0.be(UInt64(offset) | flag | (continues ? 0x20 : 0)).raw(name).raw(head).raw(payload) }
  }

  private mutating func content() -> [UInt8] {
    let seed = UInt8.random(in: 1...255, using: &generator)
    let step = UInt8.random(in: 0...3, using: &generator)
    var pattern = (0..<256).map { UInt8(truncatingIfNeeded: $0 / 7) &* step &+ seed }
    // Doubled: joining many takes long where it is not optimised.
    while pattern.count < page { pattern += pattern }
    return pattern
  }

  /// Changes runs of bytes, and says which: pairs of kept and changed, lengths in one byte or two.
  private static func delta(_ page: inout [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    func length(_ value: Int) -> [UInt8] {
      value < 128 ? [UInt8(value)] : [UInt8(value & 127) | 128, UInt8(value >> 7)]
    }
    var delta: [UInt8] = []
    var at = Int.random(in: 0...300, using: &generator)
    var kept = at
    while at < page.count - 1, delta.count < page.count / 2 {
      let changed = min(Int.random(in: 1...200, using: &generator), page.count - at)
      let new = generator.bytes(changed)
      delta += length(kept) + length(changed) + new
      page.replaceSubrange(at..<at + changed, with: new)
      kept = Int.random(in: 1...1500, using: &generator)
      at += changed + kept
    }
    return delta
  }

  // MARK: Multifd

  private func opening(_ channel: UInt8) -> [UInt8] {
    Bytes().be(UInt32(0x1122_3344)).be(UInt32(1)).raw(Array(repeating: 5, count: 16)).be(channel)
      .raw(Array(repeating: 0, count: 39)).bytes
  }

  private mutating func packet(_ block: Int?, _ normal: [Int], zero: [Int], flags: UInt32 = 0, on channel: Int? = nil) {
    let channel = channel ?? Int.random(in: 0..<channels.count, using: &generator)
    let room = 512 * 1024 / page
    // QEMU before 8 leaves the size of the packet before where there are no pages.
    let size = normal.isEmpty ? payloadSizes[channel] : UInt32(normal.count * page)
    payloadSizes[channel] = size
    let name = block.map { blocks[$0].nameBytes } ?? []
    let packet = Bytes().be(UInt32(0x1122_3344)).be(UInt32(1)).be(flags).be(UInt32(room)).be(UInt32(normal.count))
      .be(size).be(packetNumber).be(UInt32(zero.count)).raw(Array(repeating: 0, count: 28))
      .raw(name + Array(repeating: 0, count: 256 - name.count))
    for offset in normal + zero { packet.be(UInt64(offset)) }
    packet.raw(Array(repeating: 0, count: 8 * (room - normal.count - zero.count)))
    if let block { for offset in normal { packet.raw(Array(ram[block][offset..<offset + page])) } }
    channels[channel] += packet.bytes
    packetNumber += 1
  }

  private mutating func synchronize() {
    for channel in channels.indices { packet(nil, [], zero: [], flags: 1, on: channel) }
  }

  // MARK: Bytes

  mutating func command(_ number: UInt16, _ data: [UInt8], _ command: StreamCommand) {
    emit(.command(command)) { $0.be(UInt8(8)).be(number).be(UInt16(data.count)).raw(data) }
  }

  private mutating func emit(_ kind: StreamElement.Kind, _ body: (Bytes) -> Void) {
    let made = Bytes()
    body(made)
    elements.append(Seen(kind: kind, offset: UInt64(bytes.count), bytes: made.bytes))
    bytes += made.bytes
  }
}

/// Big-endian fields, one after the other.
final class Bytes {
  private(set) var bytes: [UInt8] = []

  @discardableResult func be<Value: FixedWidthInteger>(_ value: Value) -> Bytes {
    for shift in stride(from: Value.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> shift))
    }
    return self
  }

  @discardableResult func raw(_ more: [UInt8]) -> Bytes {
    bytes += more
    return self
  }

  @discardableResult func text(_ text: String) -> Bytes { be(UInt8(text.utf8.count)).raw(Array(text.utf8)) }
}

/// zlib streams for tests.
enum Zlib {
  /// - Parameter stored: not compressed at all.
  static func stream(_ page: [UInt8], stored: Bool) -> [UInt8] {
    var (low, high): (UInt64, UInt64) = (1, 0)
    for byte in page {
      low += UInt64(byte)
      high += low
    }
    low %= 65521
    high %= 65521
    return [0x78, 0x9c] + (stored ? Self.stored(page) : deflated(page)) + Bytes().be(UInt32(high << 16 | low)).bytes
  }

  private static func stored(_ page: [UInt8]) -> [UInt8] {
    var made: [UInt8] = []
    for start in stride(from: 0, to: page.count, by: 65535) {
      let part = page[start..<min(start + 65535, page.count)]
      made.append(start + part.count == page.count ? 1 : 0)
      made += [
        UInt8(part.count & 255), UInt8(part.count >> 8), UInt8(~part.count & 255), UInt8(~part.count >> 8 & 255),
      ]
      made += part
    }
    return made
  }

  private static func deflated(_ page: [UInt8]) -> [UInt8] {
    guard let codec = try? DeflateCodec(level: 1) else { return stored(page) }
    var room = [UInt8](repeating: 0, count: page.count)
    let count = page.withRawSpan { from in room.withMutableRawSpan { codec.encode(from, into: &$0) } }
    return count.map { Array(room.prefix($0)) } ?? stored(page)
  }
}
