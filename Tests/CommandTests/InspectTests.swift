// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// `pageferry inspect`, as a person or a script runs it. The streams are the fuzzers' seeds.
@Suite struct InspectTests {
  private static func stream(_ name: String) -> String {
    "\(Corpus.repository)/Tests/Corpus/qemu-stream/\(name).bin"
  }

  @Test("A stream is told in lines, and as JSON")
  func whole() throws {
    let ended = try Command.run(["inspect", Self.stream("plain")])
    #expect(ended.code == 0 && ended.error.isEmpty, "\(ended.error)")
    for words in [
      "pc.ram, 8.00 KiB", "PAGE 2", "ZERO 1", "state of device 'timer'", "pages of 1 KiB", "complete",
    ] { #expect(ended.output.contains(words), "\(words): \(ended.output)") }
    let json = try Command.run(["inspect", Self.stream("plain"), "--json"])
    let summary = try #require(JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    #expect(summary["schema"] as? Int == 1 && summary["machine"] as? String == "pc")
    #expect((summary["records"] as? [String: Int]) == ["PAGE": 2, "ZERO": 1, "MEM_SIZE": 1, "EOS": 3])
  }

  @Test("Elements are told one by one")
  func records() throws {
    let ended = try Command.run(["inspect", Self.stream("plain"), "--records", "3"])
    let lines = ended.output.split(separator: "\n").prefix(4)
    #expect(lines.first == "0x0 header (8 bytes)" && lines.last?.hasPrefix("stream") == true, "\(ended.output)")
  }

  @Test("Images and the stream anew; what exists stays unless it may be replaced")
  func files() throws {
    let folder = TemporaryDirectory()
    let arguments = [
      "inspect", Self.stream("plain"), "--image", folder.file("guest"), "--roundtrip", folder.file("again"),
    ]
    #expect(try Command.run(arguments).code == 0)
    let ram = try TemporaryDirectory.read(folder.file("guest.pc.ram.raw"))
    #expect(ram.count == 8192 && ram.prefix(2048).allSatisfy { $0 == 5 } && ram.dropFirst(2048).allSatisfy { $0 == 0 })
    #expect(try TemporaryDirectory.read(folder.file("again")) == TemporaryDirectory.read(Self.stream("plain")))
    let again = try Command.run(arguments)
    #expect(again.code == 20 && again.error.split(separator: "\n").count == 1, "\(again.error)")
    #expect(try Command.run(arguments + ["--replace"]).code == 0)
  }

  @Test(
    "A stream that is cut or damaged is one line with its place, and leaves no file",
    arguments: [("cut", 6, "the stream ends at byte"), ("outside", 5, "at byte")])
  func bad(name: String, code: Int32, words: String) throws {
    let folder = TemporaryDirectory()
    let path: String
    if name == "cut" {
      path = try folder.write(Array(try TemporaryDirectory.read(Self.stream("plain")).prefix(300)), to: "cut")
    } else {
      path = Self.stream(name)
    }
    let ended = try Command.run(["inspect", path, "--image", folder.file("g"), "--roundtrip", folder.file("r")])
    #expect(ended.code == code && ended.error.contains(words), "\(ended.error)")
    #expect(ended.error.split(separator: "\n").count == 1, "\(ended.error)")
    let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(left.allSatisfy { $0 == "cut" }, "\(left)")
  }

  @Test("What is no stream, is not there, or needs more memory than it may has its code")
  func refusals() throws {
    let folder = TemporaryDirectory()
    let foreign = try Command.run(["inspect", try folder.write(Array("hello, world".utf8), to: "a")])
    #expect(foreign.code == 5 && foreign.error.contains("not a QEMU migration stream"), "\(foreign.error)")
    #expect(try Command.run(["inspect", folder.file("none")]).code == 10)
    #expect(try Command.run(["inspect", Self.stream("plain"), "--verify", "--memory", "1KiB"]).code == 23)
    #expect(try Command.run(["inspect", Self.stream("plain"), "--json", "--records", "1"]).code == 64)
    #expect(try Command.run(["inspect", folder.path]).code == 14)
  }

  @Test("A dash is standard input, here of no bytes")
  func standardInput() throws {
    let ended = try Command.run(["inspect", "-"])
    #expect(ended.code == 6 && ended.error.contains("standard input: the stream ends at byte 0"), "\(ended.error)")
  }
}
