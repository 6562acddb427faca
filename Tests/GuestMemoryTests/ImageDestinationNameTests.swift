// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import TestSupport
import Testing

@Suite("Names of image destinations")
struct ImageDestinationNameTests {
  private let directory = TemporaryDirectory()
  private var output: String { directory.file("out") }
  private var partial: String { output + ImageDestination.partialSuffix }

  private func make(_ path: String, replaceExisting: Bool = false) throws -> ImageDestination {
    try ImageDestination(
      path: path, map: try MemoryMap(wholeImage: UInt64(4 * pageByteCount)),
      options: .init(replaceExisting: replaceExisting))
  }

  @Test("A file that exists is not replaced, and not touched")
  func existing() throws {
    try directory.write([1, 2, 3], to: "out")
    #expect(throws: GuestMemoryError.outputExists(path: output)) { try make(output) }
    #expect(throws: GuestMemoryError.outputExists(path: output)) {
      try ImageDestination.check(path: output, options: .init())
    }
    #expect(try TemporaryDirectory.read(output) == [1, 2, 3])
    #expect(!TemporaryDirectory.exists(partial))
  }

  @Test("A file that may be replaced stays until commit")
  func replaced() throws {
    try directory.write([1, 2, 3], to: "out")
    try ImageDestination.check(path: output, options: .init(replaceExisting: true))
    let destination = try make(output, replaceExisting: true)
    #expect(try TemporaryDirectory.read(output) == [1, 2, 3])
    try destination.complete()
    #expect(SparseFile.byteCount(output) == 4 * pageByteCount)
  }

  @Test("A file that may be replaced stays if the migration does not complete")
  func keptWhenDiscarded() throws {
    try directory.write([1, 2, 3], to: "out")
    try make(output, replaceExisting: true).discard()
    #expect(try TemporaryDirectory.read(output) == [1, 2, 3])
  }

  @Test("Checking a name makes nothing")
  func checkMakesNothing() throws {
    try ImageDestination.check(path: output, options: .init())
    #expect(!TemporaryDirectory.exists(output))
    #expect(!TemporaryDirectory.exists(partial))
  }

  @Test("A directory or a device cannot be an output, not even to be replaced", arguments: [false, true])
  func notAFile(replaceExisting: Bool) {
    for path in [directory.path, "/dev/null"] {
      #expect(throws: GuestMemoryError.notAnImage(path: path, what: "not a regular file")) {
        try ImageDestination.check(path: path, options: .init(replaceExisting: replaceExisting))
      }
    }
  }

  @Test("A name in no directory is refused before anything is received", arguments: ["missing/out", "file/out"])
  func noDirectory(name: String) throws {
    try directory.write([1], to: "file")
    let path = directory.file(name)
    #expect {
      try ImageDestination.check(path: path, options: .init())
    } throws: { error in
      guard let error = error as? GuestMemoryError, case .cannotOpen(path, _) = error else { return false }
      return error.description.contains(path)
    }
  }

  @Test("A second receiver of the same output is refused, and the first goes on undisturbed")
  func twoReceivers() throws {
    let first = try make(output)
    let data = SamplePages.image([.random], seed: 511)
    try first.store(data, block: 0, span: 0, pages: 0b10)
    #expect(throws: GuestMemoryError.outputBusy(path: output)) { try make(output) }
    #expect(TemporaryDirectory.exists(partial), "the second receiver removed the first one's file")
    // A second attempt must meet the same lock.
    #expect(throws: GuestMemoryError.outputBusy(path: output)) { try make(output) }
    try first.store(data, block: 0, span: 0, pages: 0b1000)
    try first.complete()
    let content = try TemporaryDirectory.read(output)
    let same = page(1, of: content) == data && page(3, of: content) == data && isZero(page(0, of: content))
    #expect(same)
  }

  @Test("A discarded output is free for the next receiver")
  func freeAgain() throws {
    try make(output).discard()
    try make(output).complete()
    #expect(SparseFile.byteCount(output) == 4 * pageByteCount)
  }
}
