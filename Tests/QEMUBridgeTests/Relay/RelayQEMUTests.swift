// SPDX-License-Identifier: Apache-2.0
import Foundation
import HostSystem
import Lanes
import Migration
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// What is switched on in the two QEMUs, and how the pair is set.
struct QEMUCase: Sendable, CustomStringConvertible {
  var capabilities: [String] = []
  /// Of the source only.
  var sourceCapabilities: [String] = []
  var codec = "none"
  /// The destination's memory: a file or a memfd of its own, and whether it is shared.
  var isFile = true
  var isShared = true
  /// Whether pages may go straight into it: told which file it is, or looked for.
  var direct = true
  var keepsAll = false
  var mode = RelayReport.Mode.direct

  func memory(_ directory: TemporaryDirectory) -> DirectMemory {
    if !direct { return .off }
    return isFile ? .file(path: directory.file("destination.ram")) : .automatic
  }

  var description: String {
    ([codec] + capabilities + sourceCapabilities
      + [isFile ? "file" : "memfd", isShared ? "shared" : "private", keepsAll ? "all kept" : ""])
      .joined(separator: " ")
  }
}

@Suite(
  "A pair of proxies between two QEMUs",
  .enabled(if: QEMUProcess.path != nil, "qemu-system-x86_64 is not installed"), .serialized)
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
    QEMUCase(capabilities: ["return-path", "multifd"], mode: .verbatim),
    QEMUCase(capabilities: ["return-path", "postcopy-ram"], mode: .pages),
  ]

  /// Two QEMUs, the source's guest stopped with memory that holds something.
  private struct Ends {
    let folder: TemporaryDirectory
    let source: QEMUProcess
    let destination: QEMUProcess

    init(_ pair: ProxyPair, _ how: QEMUCase) throws {
      folder = pair.directory
      var random = SeededGenerator(seed: 5)
      var ram = [UInt8](repeating: 0, count: 16 << 20)
      for offset in (4 << 20)..<(10 << 20) { ram[offset] = UInt8.random(in: 0...255, using: &random) }
      try folder.write(ram, to: "source.ram")
      try folder.write([UInt8](repeating: 0, count: 16 << 20), to: "destination.ram")
      source = try QEMUProcess(memoryFile: folder.file("source.ram"))
      destination = try QEMUProcess(
        memoryFile: how.isFile ? folder.file("destination.ram") : nil, incoming: "defer", isShared: how.isShared)
      try source.wait("query-status") { $0["status"] as? String == "running" }
      try source.command("stop")
      func set(_ qemu: QEMUProcess, _ names: [String]) throws {
        let list = names.map { ["capability": $0, "state": true] as [String: Any] }
        if !list.isEmpty { try qemu.command("migrate-set-capabilities", ["capabilities": list]) }
        try qemu.command("migrate-set-parameters", ["max-bandwidth": 10_000_000_000])
      }
      try set(source, how.capabilities + how.sourceCapabilities)
      try set(destination, how.capabilities)
      try destination.command("migrate-incoming", ["uri": "unix:\(pair.directory.file("in"))"])
    }

    func end() {
      source.end()
      destination.end()
    }
  }

  @Test("The destination's RAM is the source's, and its guest can run", .timeLimit(.minutes(2)), arguments: cases)
  func migrates(how: QEMUCase) throws {
    let pair = try ProxyPair(codec: how.codec, keepsAll: how.keepsAll, direct: how.memory, hasHypervisor: false)
    let ends = try Ends(pair, how)
    defer { ends.end() }
    let reports = try pair.run {
      try ends.source.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
      try ends.source.wait("query-migrate") { ["completed", "failed"].contains($0["status"] as? String) }
      #expect(try ends.source.command("query-migrate")["status"] as? String == "completed")
    }
    #expect(reports.source.allSatisfy { $0.failure == nil } && reports.destination.allSatisfy { $0.failure == nil })
    #expect(reports.destination.first?.mode == how.mode, "\(reports.destination)")
    try ends.destination.wait("query-status") {
      $0["status"] as? String == "paused" || $0["status"] as? String == "prelaunch"
    }
    if how.isFile {
      let sent = try TemporaryDirectory.read(ends.folder.file("source.ram"))
      let arrived = try TemporaryDirectory.read(ends.folder.file("destination.ram"))
      #expect(sent == arrived)
    }
    try ends.destination.command("cont")
    try ends.destination.wait("query-status") { $0["status"] as? String == "running" }
  }

  @Test(
    "Cancelled in the middle: the source's guest runs on, the destination's QEMU has no guest", .timeLimit(.minutes(1)))
  func cancel() throws {
    let how = QEMUCase(capabilities: ["return-path"])
    let pair = try ProxyPair(bandwidth: 1_000_000, hasHypervisor: false)
    let ends = try Ends(pair, how)
    defer { ends.end() }
    let reports = try pair.run {
      try ends.source.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
      HostClock.sleep(nanoseconds: 500_000_000)
      try ends.source.command("migrate_cancel")
      // QEMU closes its return path first, and may take that for the failure.
      try ends.source.wait("query-migrate") { ["cancelled", "failed"].contains($0["status"] as? String) }
    }
    #expect(reports.source.first?.failure?.code == FailureCode.hypervisorFailed.rawValue)
    #expect(reports.destination.first?.failure != nil)
    try ends.source.command("cont")
    try ends.source.wait("query-status") { $0["status"] as? String == "running" }
  }

  @Test(
    "The destination's QEMU is killed: the source's migration fails, and its guest runs on", .timeLimit(.minutes(1)))
  func killed() throws {
    let pair = try ProxyPair(bandwidth: 1_000_000, hasHypervisor: false)
    let ends = try Ends(pair, QEMUCase())
    defer { ends.end() }
    let reports = try pair.run {
      try ends.source.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
      HostClock.sleep(nanoseconds: 500_000_000)
      ends.destination.end()
      try ends.source.wait("query-migrate") { $0["status"] as? String == "failed" }
    }
    #expect(reports.source.first?.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(reports)")
    try ends.source.command("cont")
    try ends.source.wait("query-status") { $0["status"] as? String == "running" }
  }
}
