// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("With QEMU itself") struct QEMUTests {
  @Test(
    "Its stream is read to RAM that is its guest's, and what is written anew loads into another QEMU",
    .enabled(if: QEMUProcess.path != nil, "NOT TESTED: qemu-system-x86_64 is not installed"), .timeLimit(.minutes(5)),
    .onItsOwnThread)
  func both() throws {
    let folder = TemporaryDirectory()
    let source = try QEMUProcess(memoryFile: folder.file("source.ram"))
    defer { source.end() }
    // The firmware runs until it has found nothing to boot; RAM is written by then, and no longer once it is stopped.
    try source.wait("query-status") {
      guard $0["status"] as? String == "running" else { return false }
      return (try? TemporaryDirectory.read(folder.file("source.ram")))?.prefix(1 << 16).contains { $0 != 0 } ?? false
    }
    try source.command("stop")
    try source.command("migrate", ["uri": "exec:cat > \(folder.file("stream"))"])
    try source.wait("query-migrate") { $0["status"] as? String == "completed" }
    let ram = try TemporaryDirectory.read(folder.file("source.ram"))

    let stream = try TemporaryDirectory.read(folder.file("stream"))
    let anew = try StreamFile(path: folder.file("anew"), replacing: false)
    var options = StreamInspector.Options()
    options.ramLimit = 1 << 30
    options.sink = anew.sink
    let inspector = StreamInspector(options)
    try inspector.run(MemorySource(stream))
    try anew.complete(replacing: false)
    let summary = inspector.summary
    #expect(summary.ramComplete && summary.opaque != nil && summary.byteCount == UInt64(stream.count))
    #expect(summary.blocks.allSatisfy { $0.pagesNeverNamed == 0 })
    let image = try #require(inspector.image)
    let block = try #require(image.blocks.firstIndex { $0.name == "pc.ram" })
    #expect(image.bytes(ofBlock: block)[...].isSame(as: ram[...]))
    #expect(ram.contains { $0 != 0 })

    let destination = try QEMUProcess(
      memoryFile: folder.file("destination.ram"), incoming: "exec:cat \(folder.file("anew"))")
    defer { destination.end() }
    try destination.wait("query-status") {
      $0["status"] as? String == "paused" || $0["status"] as? String == "prelaunch"
    }
    let loaded = try TemporaryDirectory.read(folder.file("destination.ram"))
    #expect(loaded == ram)
    try destination.command("cont")
    try destination.wait("query-status") { $0["status"] as? String == "running" }
  }
}
