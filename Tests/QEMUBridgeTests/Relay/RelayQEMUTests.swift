// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
import Migration
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

@Suite(
  "A pair of proxies between two QEMUs",
  .enabled(if: QEMUProcess.path != nil, "NOT TESTED: qemu-system-x86_64 is not installed"), .serialized,
  .onItsOwnThread)
struct RelayQEMUTests {
  private static let cases = [
    QEMUCase(capabilities: ["return-path"]),
    QEMUCase(),
    QEMUCase(capabilities: ["return-path"], isFile: false),
    QEMUCase(capabilities: ["return-path"], codec: "zstd:1", direct: false, mode: .pages),
    QEMUCase(codec: "auto", direct: false, mode: .pages),
    QEMUCase(capabilities: ["return-path"], isFile: false, isShared: false, mode: .pages),
    QEMUCase(capabilities: ["return-path"], sourceCapabilities: ["xbzrle"]),
    QEMUCase(sourceCapabilities: ["xbzrle"], keepsAll: true),
    QEMUCase(capabilities: ["return-path", "compress"]),
    QEMUCase(capabilities: ["return-path", "multifd"]),
    QEMUCase(capabilities: ["multifd"], codec: "lz4", channels: 4),
    QEMUCase(capabilities: ["return-path", "multifd"], direct: false, mode: .pages),
    QEMUCase(capabilities: ["multifd"], codec: "auto", direct: false, mode: .pages, channels: 4),
    QEMUCase(capabilities: ["return-path", "multifd"], mode: .verbatim, compression: "zstd"),
    QEMUCase(capabilities: ["return-path", "multifd"], codec: "lz4", channels: 4, isHeld: false),
    QEMUCase(capabilities: ["return-path", "postcopy-ram"], mode: .pages),
    QEMUCase(capabilities: ["return-path"], sourceCapabilities: ["auto-converge"], codec: "lz4", isHeld: false),
  ]

  @Test("The destination's RAM is the source's, and its guest can run", .timeLimit(.minutes(5)), arguments: cases)
  func migrates(how: QEMUCase) throws {
    let pair = try ProxyPair(codec: how.codec, keepsAll: how.keepsAll, direct: how.memory, hasHypervisor: false)
    let ends = try QEMUEnds(pair, how)
    defer { ends.end() }
    let reports = try pair.run {
      try ends.source.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
      #expect(try ends.source.waitForMigration() == "completed")
    }
    #expect(reports.source.allSatisfy { $0.failure == nil } && reports.destination.allSatisfy { $0.failure == nil })
    #expect(reports.destination.first?.mode == how.mode, "\(reports.destination)")
    try ends.destination.wait(until: "paused", "prelaunch")
    if how.isFile {
      let sent = try TemporaryDirectory.read(ends.folder.file("source.ram"))
      let arrived = try TemporaryDirectory.read(ends.folder.file("destination.ram"))
      expectEqual(sent[...], arrived[...], "\(reports)")
    }
    try ends.destination.command("cont")
    try ends.destination.wait(until: "running")
  }
}
