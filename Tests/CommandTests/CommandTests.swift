// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// The built command, as a person or a script runs it.
@Suite struct CommandTests {
  @Test(
    "Wrong input ends with one line that says what, and its own exit code",
    arguments: [
      ([], "none.raw", 10, "No such file"), ([], "folder", 11, "directory"), ([], "odd.raw", 11, "4096-byte pages"),
      ([], "empty.raw", 11, "empty"), (["--map", "overlap.json"], "ok.raw", 12, "overlap"),
      (["--map", "past.json"], "ok.raw", 12, "has 8192"), (["--map", "broken.json"], "ok.raw", 12, "not valid JSON"),
      (["--map", "nomap.json"], "ok.raw", 10, "No such file"),
      (["--codec", "lzma"], "ok.raw", 64, "known: auto, none, lz4"),
      (["--codec", "zstd:99"], "ok.raw", 64, "-100 to 19"), (["--channels", "0"], "ok.raw", 64, "1 to 64"),
    ])
  func wrongInput(options: [String], image: String, code: Int32, reason: String) throws {
    let folder = TemporaryDirectory()
    try FileManager.default.createDirectory(atPath: folder.file("folder"), withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: folder.file("folder")) }
    try folder.write([UInt8](repeating: 1, count: 5000), to: "odd.raw")
    try folder.write([], to: "empty.raw")
    try folder.write([UInt8](repeating: 1, count: 8192), to: "ok.raw")
    let blocks = { (second: Int) in
      Array(
        """
        {"blocks": [{"name": "a", "guestPhysicalBase": 0, "fileOffset": 0, "size": 8192},
                    {"name": "b", "guestPhysicalBase": "1MiB", "fileOffset": \(second), "size": 4096}]}
        """.utf8)
    }
    try folder.write(blocks(4096), to: "overlap.json")
    try folder.write(blocks(8192), to: "past.json")
    try folder.write(Array("{".utf8), to: "broken.json")
    let options = options.map { $0.hasSuffix(".json") ? folder.file($0) : $0 }
    let ended = try Command.run(["send", folder.file(image), "127.0.0.1:1"] + options)
    #expect(ended.code == code, "\(ended.error)")
    #expect(ended.error.contains(reason), "\(ended.error)")
    if code != 64 { #expect(ended.error.split(separator: "\n").count == 1, "\(ended.error)") }
  }

  @Test("A number of decoders that there cannot be is refused", arguments: ["8", "-1", "many", ""])
  func wrongDecoders(value: String) throws {
    let ended = try Command.run(["receive", "--discard", "--decoders=\(value)"])
    #expect(ended.code == 64 && ended.error.contains("--decoders"), "\(ended.error)")
  }

  @Test("A receiver that nobody runs is looked for, then given up", .timeLimit(.minutes(1)))
  func receiverAbsent() throws {
    let folder = TemporaryDirectory()
    let image = try folder.write([UInt8](repeating: 1, count: 4096), to: "a.raw")
    let ended = try Command.run(["send", image, "unix:\(folder.file("none"))", "--connect-timeout", "1"])
    #expect(ended.code == 31)
    #expect(ended.error.contains("gave up after"))
  }

  @Test("A sender that never comes, an output that exists, a port in use, an open network: each has its code")
  func receiverRefusals() throws {
    let folder = TemporaryDirectory()
    let taken = try folder.write([1], to: "taken.raw")
    #expect(try Command.run(["receive", taken, "--listen", "127.0.0.1:0"]).code == 20)
    #expect(try Command.run(["receive", folder.file("a"), "--listen", "127.0.0.1:0", "--wait", "1"]).code == 31)
    #expect(try Command.run(["receive", folder.file("no/such/a"), "--listen", "127.0.0.1:0"]).code == 20)
    let open = try Command.run(["receive", folder.file("a"), "--listen", "0.0.0.0:0"])
    #expect(open.code == 64)
    #expect(open.error.contains("--insecure"))
    let first = try Command.start(["receive", folder.file("a"), "--listen", "127.0.0.1:0"])
    defer { first.process.terminate() }
    let port = try first.port()
    let second = try Command.run(["receive", folder.file("b"), "--listen", "127.0.0.1:\(port)"])
    #expect(second.code == 30)
    #expect(second.error.contains("in use"))
  }

  @Test("A migration prints a table, or JSON with the documented fields, on both sides")
  func reports() throws {
    let folder = TemporaryDirectory()
    let bytes = SamplePages.mixedImage(pageCount: 300, seed: 51)
    let image = try folder.write(bytes, to: "a.raw")
    let receiver = try Command.start(["receive", folder.file("b.raw"), "--listen", "127.0.0.1:0", "--json"])
    let sent = try Command.run(["send", image, "127.0.0.1:\(try receiver.port())", "--codec", "zstd:3"])
    let received = receiver.finish()
    #expect(sent.code == 0)
    #expect(received.code == 0)
    #expect(try TemporaryDirectory.read(folder.file("b.raw")) == bytes)
    for word in ["outcome", "completed", "zstd:3", "digest", "switchover", "channels"] {
      #expect(sent.output.contains(word), "\(sent.output)")
    }
    let parsed = try JSONSerialization.jsonObject(with: Data(received.output.utf8))
    let json = try #require(parsed as? [String: Any])
    let keys = [
      "schema", "role", "outcome", "session", "peer", "blocks", "pages", "bytes", "seconds", "codec", "channels",
      "lanes", "resources",
    ]
    for key in keys { #expect(json[key] != nil, "\(key) is missing") }
    #expect(json["outcome"] as? String == "completed")
    #expect((json["pages"] as? [String: Any])?["total"] as? Int == 300)
  }

  @Test("RAM blocks that differ end both sides with the same code")
  func blocksDiffer() throws {
    let folder = TemporaryDirectory()
    let image = try folder.write([UInt8](repeating: 1, count: 8192), to: "a.raw")
    let map = try folder.write(
      Array(#"{"blocks": [{"name": "ram", "guestPhysicalBase": 0, "fileOffset": 0, "size": "1MiB"}]}"#.utf8),
      to: "map.json")
    let receiver = try Command.start(["receive", folder.file("b"), "--listen", "127.0.0.1:0", "--map", map])
    let sent = try Command.run(["send", image, "127.0.0.1:\(try receiver.port())"])
    #expect(sent.code == 35)
    #expect(receiver.finish().code == 35)
  }

  @Test("help, version, exit codes and doctor answer")
  func information() throws {
    #expect(try Command.run(["--help"]).output.contains("pageferry receive copy.raw"))
    #expect(try Command.run(["--version"]).output.hasPrefix("0."))
    #expect(try Command.run(["exit-codes"]).output.contains("21  the destination's disk is full"))
    let doctor = try Command.run(["doctor"])
    #expect(doctor.code == 0)
    for word in ["page kernels", "libzstd", "release", "congestion control"] {
      #expect(doctor.output.contains(word), "\(doctor.output)")
    }
    let findings = try JSONSerialization.jsonObject(with: Data(try Command.run(["doctor", "--json"]).output.utf8))
    #expect((findings as? [[String: Any]])?.isEmpty == false)
  }
}
