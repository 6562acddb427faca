// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("Reading a migration stream") struct StreamReaderTests {
  @Test("What was written is read, and elements add up to the stream", arguments: Shape.all)
  func elements(shape: Shape) {
    for seed in 1...3 as ClosedRange<UInt64> {
      let model = ModelStream(shape, seed: seed)
      let (elements, error) = Seen.read(MemorySource(model.bytes))
      #expect(error == nil)
      #expect(elements == model.elements, "seed \(seed)")
      #expect(elements.flatMap { $0.bytes } == model.bytes, "seed \(seed)")
    }
  }

  @Test("However the bytes come, the elements are the same", arguments: Shape.all)
  func ragged(shape: Shape) {
    let model = ModelStream(shape, seed: 5, passCount: 1)
    for longest in [1, 9, 5000, 100_000] {
      let (elements, error) = Seen.read(RaggedSource(model.bytes, seed: UInt64(longest), longest: longest))
      #expect(error == nil)
      #expect(elements == model.elements, "reads of at most \(longest) bytes")
    }
  }

  @Test("A stream longer than the buffer comes in place as well")
  func long() {
    let model = ModelStream(Shape(name: "long", pageBits: 16, xbzrle: false), seed: 3, passCount: 40)
    #expect(model.bytes.count > 4 * StreamReader.bufferByteCountDefault)
    #expect(Seen.read(MemorySource(model.bytes)).elements == model.elements)
  }

  @Test("Every prefix ends where it ends, inside what it ends inside", arguments: Shape.all)
  func prefixes(shape: Shape) {
    let model = ModelStream(shape, seed: 6, passCount: 1)
    // A page's inside is all alike: of long streams every 499th length, and those around the elements' ends.
    var lengths = Set(model.elements.flatMap { [Int($0.offset), Int($0.offset) + 1, Int($0.offset) + 9] })
    lengths.formUnion(stride(from: 0, to: model.bytes.count, by: model.bytes.count > 5000 ? 499 : 1))
    for length in lengths where length < model.ramEnd {
      let (elements, error) = Seen.read(MemorySource(Array(model.bytes.prefix(length))))
      guard case .truncated(let offset, let part)? = error else {
        Issue.record("\(length) bytes: \(String(describing: error))")
        continue
      }
      #expect(offset == length)
      #expect(!part.place.isEmpty && error?.description.contains("\(length)") == true)
      #expect(elements[...] == model.elements.prefix(elements.count), "\(length) bytes")
    }
    for length in model.ramEnd...model.bytes.count {
      let (elements, error) = Seen.read(MemorySource(Array(model.bytes.prefix(length))))
      // Where sections have footers, only the stream's end can say that the last one has none.
      let isCut = elements.flatMap { $0.bytes }.count < length
      #expect(error == nil || isCut, "\(length) bytes")
    }
  }

  @Test("No byte that is changed makes it trap, loop or lose bytes", arguments: Shape.all)
  func damage(shape: Shape) {
    let model = ModelStream(shape, seed: 7, passCount: 1)
    var generator = SeededGenerator(seed: 8)
    // Where most of the structure is.
    let heads = model.elements.flatMap { element in (0..<24).map { Int(element.offset) + $0 } }
      .filter { $0 < model.bytes.count }
    for round in 0..<100 {
      var bytes = model.bytes
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let at = heads.randomElement(using: &generator) ?? 0
        bytes[at] = Bool.random(using: &generator) ? bytes[at] ^ 1 << UInt8.random(in: 0...7, using: &generator) : 0xff
      }
      let (elements, error) = Seen.read(MemorySource(bytes))
      let read = elements.flatMap { $0.bytes }
      #expect(read[...].isSame(as: bytes.prefix(read.count)), "round \(round)")
      if error == nil { #expect(read.count == bytes.count, "round \(round)") }
      if let error { #expect(!error.description.isEmpty && error.offset <= bytes.count) }
    }
  }

  @Test("What the reader has learnt of the stream")
  func knowledge() throws {
    let shape = Shape(name: "", returnPath: true, uuid: true, ignoreShared: true)
    let model = ModelStream(shape, seed: 9)
    var reader = try StreamReader(MemorySource(model.bytes))
    while try reader.next() != nil {}
    let found = reader.configuration
    let configuration = try #require(found)
    #expect(configuration.machine == "pc-i440fx-7.2" && configuration.capabilities == ["x-ignore-shared"])
    #expect(configuration.uuid == Array(0..<16))
    #expect(configuration.subsections == ["configuration/capabilities", "configuration/uuid"])
    let blocks = reader.blocks
    #expect(blocks == model.blocks)
    let (section, footers, isComplete) = (reader.ramSection, reader.hasFooters, reader.isRAMComplete)
    #expect(section == ModelStream.sectionID && footers == true && isComplete)
    let (offset, cause) = (reader.offset, reader.opaqueCause)
    #expect(offset == model.bytes.count && cause == .device("timer"))
  }

  @Test("A source that fails is not an end")
  func failure() {
    let model = ModelStream(Shape(name: "plain"), seed: 10)
    #expect(Seen.read(FailingSource(model.bytes)).error == .unreadable(offset: UInt64(model.bytes.count), .ioError))
  }

  @Test("A packaged stream comes in parts, as long as it was announced, and the sections go on behind it")
  func packaged() {
    var model = ModelStream(Shape(name: "plain", hasTail: false), seed: 11, passCount: 1)
    let end = Array(model.bytes.suffix(from: Int(model.elements[model.elements.lastIndex { isEnd($0) } ?? 0].offset)))
    model.bytes.removeLast(end.count)
    let embedded = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0) }
    let head = Bytes().be(UInt8(8)).be(UInt16(7)).be(UInt16(4)).be(UInt32(embedded.count)).bytes
    let bytes = model.bytes + head + embedded + end
    let (elements, error) = Seen.read(RaggedSource(bytes, seed: 1, longest: 70_000))
    #expect(error == nil)
    let index = elements.firstIndex { $0.kind == .command(.packaged(byteCount: embedded.count)) }
    #expect(index.map { elements[$0 + 1].bytes == embedded } == true)
    #expect(elements.flatMap { $0.bytes }[...].isSame(as: bytes[...]))
    let cut = Seen.read(MemorySource(Array((model.bytes + head + embedded).dropLast())))
    #expect(
      cut.error
        == .truncated(offset: UInt64(model.bytes.count + head.count + embedded.count - 1), inside: .packagedStream))
  }

  private func isEnd(_ seen: Seen) -> Bool { seen.kind == .section(.end, id: ModelStream.sectionID) }
}
