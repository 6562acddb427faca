// SPDX-License-Identifier: Apache-2.0
import Foundation
import HostSystem
import PageFerry
import TestSupport
import Testing
import Transport

@Suite("pageferry proxy", .serialized)
struct ProxyCommandTests {
  /// A stream of QEMU's that declares a block and goes on sending pages of it: both halves, and the hypervisors' sockets.
  private final class Journey {
    static let pageCount = 4096

    let folder = TemporaryDirectory()
    let (source, destination): (Command.Running, Command.Running)
    let (out, arriving): (Connection, Connection)
    private let threads: [HostThread]

    init(_ more: [String] = []) throws {
      let incoming = try Listener(endpoint: .unix(path: folder.file("in")), options: .init())
      destination = try Command.start([
        "proxy", "destination", "--listen", "127.0.0.1:0", "--connect", "unix:\(folder.file("in"))", "--direct", "off",
        "--control", folder.file("d.ctl"), "--metrics-file", folder.file("d.prom"),
      ])
      let port = try destination.port(after: "waiting for the other half")
      source = try Command.start(
        [
          "proxy", "source", "--listen", "unix:\(folder.file("out"))", "--to", "127.0.0.1:\(port)", "--codec", "none",
          "--bandwidth", "400KB", "--control", folder.file("s.ctl"), "--metrics-file", folder.file("s.prom"),
        ] + more)
      _ = try source.line(with: "waiting for QEMU")
      let made = try Dialer(endpoint: .unix(path: folder.file("out")), options: .init()).connect(within: .seconds(5))
      out = made
      let feeding = HostThread(name: "test-feed") {
        try? made.send(Self.opening)
        for page in 0..<Self.pageCount { guard (try? made.send(Self.section(page))) != nil else { return } }
      }
      let taken = try #require(try incoming.accept(within: .seconds(10)))
      arriving = taken
      let taking = HostThread(name: "test-take") { while (try? taken.receive(count: 512)) != nil {} }
      threads = [feeding, taking]
    }

    func end() -> (source: Command.Ended, destination: Command.Ended) {
      let ended = (source.finish(), destination.finish())
      out.shutDown()
      arriving.shutDown()
      for thread in threads { thread.join() }
      return ended
    }

    private static func big(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(value >> (56 - 8 * $0) & 255) } }

    private static var opening: [UInt8] {
      [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 7, 0, 0, 0, 2, 0x70, 0x63, 1, 0, 0, 0, 2, 3] + Array("ram".utf8)
        + [0, 0, 0, 0, 0, 0, 0, 4] + big(UInt64(pageCount * 4096) | 4) + [6] + Array("pc.ram".utf8)
        + big(UInt64(pageCount * 4096)) + big(0x10) + [0x7e, 0, 0, 0, 2]
    }

    private static func section(_ page: Int) -> [UInt8] {
      [2, 0, 0, 0, 2] + big(UInt64(page * 4096) | 8) + [6] + Array("pc.ram".utf8)
        + (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ page | 1) } + big(0x10) + [0x7e, 0, 0, 0, 2]
    }
  }

  @Test("A pair is watched, steered and cancelled through its sockets; each half says what became of it")
  func steers() throws {
    let journey = try Journey()
    let (path, other) = (journey.folder.file("s.ctl"), journey.folder.file("d.ctl"))
    for word in ["wire ", "data ", "overtaken ", "under way "] {
      let shown = try journey.source.line(with: word)
      #expect(shown.hasPrefix("active") || shown.hasPrefix("setup"), "\(shown)")
    }
    let status = try Command.run(["ctl", path, "status"])
    for row in [
      "Job type:", "Operation:", "Memory bandwidth:", "Carried as:", "Connections:", "Stream taken:",
      "Pages overtaken:",
      "Under way, allowed:", "Pages held here:", "Channel 2:", "Lane 0:", "Hand-over:", "  bandwidth:", "  workers:",
    ] { #expect(status.output.contains(row), "\(row)\n\(status.output)") }
    for row in ["remaining:", "downtime:", "Dirty rate:", "downtime-limit:", "Verdict:"] {
      #expect(!status.output.contains(row), "\(row)\n\(status.output)")
    }
    let arrived = try Command.run(["ctl", other, "status"])
    #expect(arrived.output.contains("Incoming migration") && arrived.output.contains("Stream given:"))
    #expect(!arrived.output.contains("Settings"))
    let set = try Command.run(["ctl", path, "set", "bandwidth=300KB", "codec=lz4"])
    #expect(set.code == 0 && set.output == "bandwidth: 293 KiB/s\ncodec: lz4:1\n", "\(set.output)\(set.error)")
    let refused = try Command.run(["ctl", path, "set", "downtime-limit=500"])
    #expect(refused.code == 51 && refused.error.contains("migrate-set-parameters downtime-limit"), "\(refused.error)")
    #expect(try Command.run(["ctl", path, "complete"]).error.contains("QEMU hands its guest over"))
    let watch = try Command.start(["ctl", path, "watch", "--interval", "0.1"])
    // Or it may come when there is nothing to watch any more.
    try watch.waitForOutput()
    #expect(try Command.run(["ctl", other, "cancel", "--reason", "called off"]).code == 0)
    let ended = journey.end()
    #expect(ended.destination.code == 43 && ended.destination.error.contains("cancelled: called off"))
    #expect(ended.source.code == 42 && ended.source.error.contains("called off"), "\(ended.source.error)")
    let watched = watch.finish()
    #expect(watched.code == 42 && watched.output.contains("cancelled after"), "\(watched.output)\(watched.error)")
    #expect(!TemporaryDirectory.exists(path) && !TemporaryDirectory.exists(other))
    for half in ["s", "d"] {
      let metrics = try String(contentsOfFile: journey.folder.file("\(half).prom"), encoding: .utf8)
      #expect(
        metrics.contains("pageferry_phase=\"cancelled\"} 1\n") && metrics.contains("pageferry_relay_stream_bytes"))
    }
  }

  @Test("What cannot be had ends with one line and its exit code, before QEMU is waited for")
  func refusals() throws {
    let folder = TemporaryDirectory()
    let source = ["proxy", "source", "--listen", "unix:\(folder.file("out"))", "--to", "127.0.0.1:9"]
    let taken = try folder.write([1], to: "taken")
    for (more, code, words) in [
      (["--control", taken], 30 as Int32, "not a socket"), (["--http", "0.0.0.0:0"], 64, "--insecure"),
      (["--metrics-file", "/no/such/place.prom"], 22, "cannot write the metrics"),
      (["--codec", "lzma"], 64, "known: auto"), (["--channels", "0"], 64, "1 to 64"),
      (["--wait", "1"], 31, "no hypervisor came"),
    ] {
      let ended = try Command.run(source + more)
      #expect(ended.code == code && ended.error.contains(words), "\(more): \(ended.code) \(ended.error)")
    }
  }
}
