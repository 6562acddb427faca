// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

@Suite(
  "A pair of proxies between QEMUs: postcopy, and to and fro",
  .enabled(if: QEMUProcess.path != nil, "NOT TESTED: qemu-system-x86_64 is not installed"), .serialized,
  .onItsOwnThread)
struct RelayJourneyTests {
  @Test(
    "Postcopy, switched in the middle: the destination has the source's memory", .timeLimit(.minutes(5)),
    arguments: [true, false], [true, false])
  func postcopy(isHeld: Bool, isShared: Bool) throws {
    let how = QEMUCase(
      capabilities: ["return-path", "postcopy-ram"], isFile: false, isShared: isShared, isHeld: isHeld)
    let pair = try ProxyPair(bandwidth: 1_000_000, direct: how.memory, hasHypervisor: false)
    let ends: QEMUEnds
    do { ends = try QEMUEnds(pair, how, startsArrived: !isHeld) } catch let error as QEMUProcess.Failure {
      guard error.description.contains("ostcopy") else { throw error }
      return print("NOT TESTED: postcopy: QEMU cannot have it here (userfaultfd): \(error)")
    }
    defer { ends.end() }
    let reports = try pair.run {
      try ends.start(pair)
      try ends.source.waitForMiddle(sent: 1_500_000)
      try ends.source.command("migrate-start-postcopy")
      pair.departure.controls.pacer.set(bytesPerSecond: 0)
      #expect(try ends.source.waitForMigration() == "completed")
      let ram = try #require(try ends.source.command("query-migrate")["ram"] as? [String: Any])
      // Less than two of six megabytes had gone before.
      #expect(try #require(ram["postcopy-bytes"] as? Int) > 2_000_000, "\(ram)")
      try ends.destination.wait(until: isHeld ? "paused" : "running")
    }
    #expect(reports.source.first?.failure == nil && reports.destination.first?.failure == nil, "\(reports)")
    let sent = try ends.source.savedMemory(in: ends.folder, as: "sent")
    let arrived = try ends.destination.savedMemory(in: ends.folder, as: "arrived")
    // A guest that runs there goes on writing, at the bottom of memory and at its top.
    let compared = isHeld ? sent.indices : QEMUEnds.filled
    expectEqual(sent[compared], arrived[compared], "\(reports)")
    try ends.destination.command("cont")
    try ends.destination.wait(until: "running")
  }

  @Test(
    "To and fro and to: the same guest, three times another QEMU", .timeLimit(.minutes(5)),
    arguments: ["none", "auto"])
  func toAndFro(codec: String) throws {
    let folder = TemporaryDirectory()
    try folder.write(QEMUEnds.content(seed: 0), to: "0.ram")
    var source = try QEMUProcess(memoryFile: folder.file("0.ram"))
    defer { source.end() }
    try source.wait(until: "running")
    for leg in 1...3 {
      // What it had last time is not what it has now.
      try source.command("stop")
      try QEMUEnds.fill(folder.file("\(leg - 1).ram"), seed: UInt64(leg))
      try source.command("cont")
      try folder.write([UInt8](repeating: 0, count: QEMUProcess.ramByteCount), to: "\(leg).ram")
      let destination = try QEMUProcess(memoryFile: folder.file("\(leg).ram"), incoming: "defer")
      let pair = try ProxyPair(
        codec: codec, direct: { _ in .file(path: folder.file("\(leg).ram")) }, hasHypervisor: false)
      var arrived = false
      defer { if !arrived { destination.end() } }
      for end in [source, destination] { try end.configure(["return-path"]) }
      try destination.command("migrate-incoming", ["uri": "unix:\(pair.directory.file("in"))"])
      let reports = try pair.run {
        try source.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
        #expect(try source.waitForMigration() == "completed")
      }
      #expect(reports.source.first?.failure == nil && reports.destination.first?.failure == nil, "\(reports)")
      try destination.wait(until: "paused", "prelaunch")
      let ram = try (leg - 1...leg).map { try TemporaryDirectory.read(folder.file("\($0).ram")) }
      expectEqual(ram[0][...], ram[1][...], "leg \(leg): \(reports)")
      try destination.command("cont")
      try destination.wait(until: "running")
      source.end()
      source = destination
      arrived = true
    }
  }
}
