// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel
import TestSupport
import Testing

@Suite("Holes of image sources", .enabled(if: SparseFile.areReported, "the file system of /tmp does not report holes"))
struct ImageSourceHolesTests {
  private let directory = TemporaryDirectory()
  private static let data = [UInt8](repeating: 1, count: pageByteCount)

  @Test(
    "Exactly the pages that were written are present",
    arguments: [
      [], [0], [199], [63, 64], [0, 1, 2, 70, 130, 199], Array(10..<190), Array(0..<200),
    ] as [[Int]])
  func present(written: [Int]) throws {
    let path = directory.file("image")
    try SparseFile.make(path, pageCount: 200, pages: written.map { ($0, Self.data) })
    let source = try ImageSource(path: path)
    #expect(pages(of: try source.presentPages(block: 0)) == Set(written))
  }

  @Test("Each block of a map has the pages that were written within it, by their numbers in it")
  func presentByBlock() throws {
    let path = directory.file("image")
    try SparseFile.make(path, pageCount: 300, pages: [9, 10, 99, 100, 101, 250].map { ($0, Self.data) })
    let json = """
      { "blocks": [
        { "name": "a", "guestPhysicalBase": 0,         "fileOffset": 40960,  "size": 368640 },
        { "name": "b", "guestPhysicalBase": "0x80000", "fileOffset": 409600, "size": 8192 },
        { "name": "c", "guestPhysicalBase": "0x90000", "fileOffset": 450560, "size": 409600 } ] }
      """
    let map = try MemoryMap(path: try directory.write(Array(json.utf8), to: "map.json"))
    let source = try ImageSource(path: path, map: map)
    #expect(pages(of: try source.presentPages(block: 0)) == [0, 89])
    #expect(pages(of: try source.presentPages(block: 1)) == [0, 1])
    #expect(pages(of: try source.presentPages(block: 2)) == [])
  }

  @Test("Pages that are not present are zero, in random sparse files", arguments: [351, 352, 353] as [UInt64])
  func absentPagesAreZero(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    var content = [UInt8](repeating: 0, count: 320 * pageByteCount)
    var parts: [(first: Int, content: [UInt8])] = []
    for _ in 0..<6 {
      let first = Int.random(in: 0..<300, using: &generator)
      let part = SamplePages.image(
        SeededKinds(count: Int.random(in: 1...20, using: &generator), seed: generator.next()).kinds, seed: seed)
      parts.append((first, part))
      content.replaceSubrange(first * pageByteCount..<first * pageByteCount + part.count, with: part)
    }
    let path = directory.file("image")
    try SparseFile.make(path, pageCount: 320, pages: parts)
    let source = try ImageSource(path: path)
    let present = pages(of: try source.presentPages(block: 0))
    let lost = (0..<320).filter { !present.contains($0) && !isZero(page($0, of: content)) }
    #expect(lost.isEmpty, "pages \(lost) hold data but are not present, seed \(seed)")
    #expect(present.count < 320, "no hole was found, seed \(seed)")
  }
}
