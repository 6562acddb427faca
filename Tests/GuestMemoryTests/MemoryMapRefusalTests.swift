// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel
import TestSupport
import Testing

@Suite("Memory maps that are refused")
struct MemoryMapRefusalTests {
  private let directory = TemporaryDirectory()

  /// The reason given for refusing the map.
  private func reason(_ json: [UInt8]) throws -> String {
    let path = try directory.write(json, to: "map.json")
    do throws(GuestMemoryError) {
      _ = try MemoryMap(path: path)
    } catch {
      guard case .badMap(path, let reason) = error else {
        Issue.record("refused with another error: \(error)")
        return ""
      }
      #expect(error.description.contains(path))
      return reason
    }
    Issue.record("accepted")
    return ""
  }

  /// A map of one block, with one field as given.
  private static func map(
    name: String = #""low""#, base: String = "0", offset: String = "0", size: String = "4096", more: String = ""
  ) -> String {
    """
    { "blocks": [ { "name": \(name), "guestPhysicalBase": \(base), "fileOffset": \(offset), "size": \(size)\(more) } ] }
    """
  }

  private static func two(_ second: String) -> String {
    """
    { "blocks": [ { "name": "low", "guestPhysicalBase": 0, "fileOffset": 0, "size": 8192 }, \(second) ] }
    """
  }

  @Test(
    "The message names the field that is wrong, and says how",
    arguments: [
      ("{}", ["'blocks'"]),
      (#"{ "blocks": 3 }"#, [".blocks"]),
      (#"{ "blocks": [] }"#, ["no RAM block"]),
      (#"{ "blocks": [ 7 ] }"#, [".blocks[0]"]),
      (#"{ "blocks": [ { "guestPhysicalBase": 0, "fileOffset": 0, "size": 4096 } ] }"#, [".blocks[0]", "'name'"]),
      (#"{ "blocks": [ { "name": "a", "fileOffset": 0, "size": 4096 } ] }"#, [".blocks[0]", "'guestPhysicalBase'"]),
      (two(#"{ "name": "b", "guestPhysicalBase": 8192, "size": 4096 }"#), [".blocks[1]", "'fileOffset'"]),
      (two(#"{ "name": "b", "guestPhysicalBase": 8192, "fileOffset": 8192 }"#), [".blocks[1]", "'size'"]),
      (map(name: "7"), [".blocks[0].name"]),
      (map(name: "null"), [".blocks[0]", "name"]),
      (map(base: "-1"), [".blocks[0].guestPhysicalBase", "whole number"]),
      (map(base: #""0xzz""#), [".blocks[0].guestPhysicalBase", "0x1000"]),
      (map(offset: "true"), [".blocks[0].fileOffset", "whole number"]),
      (map(size: "1.5"), [".blocks[0].size", "whole number"]),
      (map(size: #""3 bananas""#), [".blocks[0].size", "3GiB"]),
      (map(size: "18446744073709551616"), [".blocks[0].size", "whole number"]),
      (map(size: "[]"), [".blocks[0].size", "whole number"]),
      (map(more: #", "hostPageSize": "big""#), [".blocks[0].hostPageSize", "whole number"]),
      (map(more: #", "hostPageSize": 8192"#), ["'low'", "8192"]),
      (map(more: #", "hostPageSize": "8TiB""#), ["'low'", "host page size"]),
      (map(name: #""""#), ["name", "0 bytes"]),
      (map(size: "4095"), ["'low'", "size", "4095"]),
      (map(base: "2048"), ["'low'", "guest-physical base", "2048"]),
      (map(offset: "2048"), ["'low'", "file offset 2048"]),
      (map(offset: "9223372036854771712"), ["'low'", "file offset", "too large"]),
      (map(offset: "18446744073709547520"), ["'low'", "file offset", "too large"]),
      (two(#"{ "name": "low", "guestPhysicalBase": 8192, "fileOffset": 8192, "size": 4096 }"#), ["two", "'low'"]),
      (
        two(#"{ "name": "b", "guestPhysicalBase": 4096, "fileOffset": 8192, "size": 4096 }"#),
        ["'b'", "guest-physical"]
      ),
      (two(#"{ "name": "b", "guestPhysicalBase": 8192, "fileOffset": 4096, "size": 4096 }"#), ["'b'", "image file"]),
    ] as [(String, [String])])
  func badField(json: String, words: [String]) throws {
    let reason = try reason(Array(json.utf8))
    for word in words { #expect(reason.contains(word), "\"\(reason)\" lacks \"\(word)\"") }
  }

  @Test("What is not JSON is said not to be", arguments: ["", "blocks", "{", "[]]", "{ \"blocks\": [ }", "\u{0}"])
  func notJSON(text: String) throws {
    #expect(try reason(Array(text.utf8)).contains("JSON"))
  }

  @Test("Any damage to a good map is refused or read, never a crash", arguments: [311, 312] as [UInt64])
  func damaged(seed: UInt64) throws {
    let good = Array(
      Self.two(#"{ "name": "b", "guestPhysicalBase": "0x4000", "fileOffset": 8192, "size": "4KiB" }"#).utf8)
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<150 {
      var bad = good
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        bad[Int.random(in: 0..<bad.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      let path = try directory.write(bad, to: "map.json")
      do throws(GuestMemoryError) {
        let map = try MemoryMap(path: path)
        #expect(
          map.fileOffsets.count == map.blocks.blocks.count, "\(String(decoding: bad, as: UTF8.self)), seed \(seed)")
      } catch {
        guard case .badMap = error else {
          Issue.record("\(error) for \(String(decoding: bad, as: UTF8.self)), seed \(seed)")
          continue
        }
      }
    }
  }

  @Test("A file that is missing, or a directory, cannot be opened")
  func unreadable() {
    for path in [directory.file("missing.json"), directory.path] {
      #expect { try MemoryMap(path: path) } throws: { error in
        if case .cannotOpen(path, _)? = error as? GuestMemoryError { true } else { false }
      }
    }
  }

  @Test("A file of more than 1 MiB is not read to its end")
  func tooLarge() throws {
    let json = Array(Self.map().utf8) + [UInt8](repeating: 0x20, count: 1 << 20)
    #expect(try reason(json).contains("larger"))
  }
}
