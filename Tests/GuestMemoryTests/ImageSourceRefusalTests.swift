// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import TestSupport
import Testing

@Suite("Images that cannot be sent")
struct ImageSourceRefusalTests {
  private let directory = TemporaryDirectory()

  @Test("A file that is no whole number of pages is refused", arguments: [1, 4095, 4097, 3 * 4096 + 17])
  func notPageMultiple(byteCount: Int) throws {
    let path = try directory.write([UInt8](repeating: 1, count: byteCount), to: "image")
    let error = GuestMemoryError.notPageMultiple(path: path, byteCount: UInt64(byteCount))
    #expect(throws: error) { try ImageSource(path: path) }
    #expect(error.description.contains("\(byteCount % 4096) bytes too many"))
  }

  @Test("An empty file is refused")
  func empty() throws {
    let path = try directory.write([], to: "image")
    #expect(throws: GuestMemoryError.notAnImage(path: path, what: "empty")) { try ImageSource(path: path) }
  }

  @Test("A directory is refused")
  func isDirectory() {
    let path = directory.path
    #expect(throws: GuestMemoryError.notAnImage(path: path, what: "a directory")) { try ImageSource(path: path) }
  }

  @Test("A device that is no disk is refused")
  func device() {
    #expect {
      try ImageSource(path: "/dev/null")
    } throws: { error in
      if case .notAnImage("/dev/null", _)? = error as? GuestMemoryError { true } else { false }
    }
  }

  @Test("A file that is missing cannot be opened, and the message names it")
  func missing() {
    let path = directory.file("missing")
    #expect {
      try ImageSource(path: path)
    } throws: { error in
      guard let error = error as? GuestMemoryError, case .cannotOpen(path, _) = error else { return false }
      return error.description.contains(path) && error.description.contains("No such file")
    }
  }

  @Test("A map that reaches past the end of the image is refused, and names the block")
  func mapPastEnd() throws {
    let path = try directory.write([UInt8](repeating: 1, count: 3 * 4096), to: "image")
    let json = """
      { "blocks": [
        { "name": "low",  "guestPhysicalBase": 0,    "fileOffset": 0,    "size": 8192 },
        { "name": "high", "guestPhysicalBase": 8192, "fileOffset": 8192, "size": 8192 } ] }
      """
    let map = try MemoryMap(path: try directory.write(Array(json.utf8), to: "map.json"))
    let error = GuestMemoryError.mapPastEnd(path: path, block: "high", end: 16384, byteCount: 12288)
    #expect(throws: error) { try ImageSource(path: path, map: map) }
    #expect(error.description.contains("'high'"))
  }
}
