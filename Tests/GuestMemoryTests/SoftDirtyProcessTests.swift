// SPDX-License-Identifier: Apache-2.0
import Foundation
import GuestMemory
import PageModel
import SystemPackage
import Testing

@Suite("Soft-dirty bits of another process")
struct SoftDirtyProcessTests {
  /// A `/proc` with one process, whose page tables have the bit at some pages of its large mapping.
  private func process(_ maps: String, softDirty pages: [UInt64]) throws -> (root: String, process: SoftDirtyProcess) {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent("soft-dirty-\(UUID())")
    let folder = root.appendingPathComponent("77")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try Data(maps.utf8).write(to: folder.appendingPathComponent("maps"))
    try Data().write(to: folder.appendingPathComponent("clear_refs"))
    let table = folder.appendingPathComponent("pagemap")
    try Data().write(to: table)
    let file = try FileHandle(forWritingTo: table)
    for page in pages {
      try file.seek(toOffset: page * 8)
      // Present, and soft-dirty; little-endian.
      file.write(Data([1, 0, 0, 0, 0, 0, 0x80, 0x80]))
    }
    try file.close()
    return (root.path, try SoftDirtyProcess(pid: 77, root: root.path))
  }

  @Test("Written pages are counted in the large mappings, and scaled up where not all stripes are looked at")
  func counts() throws {
    let base: UInt64 = 0x10000
    // 64 MiB + 2 GiB of memory, and a stack that does not count.
    let maps = """
      10000000-14000000 rw-p 00000000 00:00 0
      20000000-a0000000 rw-s 00000000 00:01 5 /memfd:ram
      b0000000-b0100000 rw-p 00000000 00:00 0 [stack]
      c0000000-d0000000 r--p 00000000 00:00 0
      """
    let second: UInt64 = 0x20000
    let (root, process) = try process(
      maps, softDirty: [base, base + 1, base + 64, base + 0x3fff, second, second + 512, second + 1024, 0xb0000])
    defer { try? FileManager.default.removeItem(atPath: root) }
    #expect(process.memoryByteCount == (64 << 20) + (2 << 30))
    let found = try process.written()
    // Of the second mapping every other stripe is looked at: its pages 0 and 1024, which stand for two each.
    #expect(found.pages == 4 + 4)
    #expect(found.spans == 3 + 4)
    try process.clear()
    #expect(try String(contentsOfFile: root + "/77/clear_refs", encoding: .utf8) == "4")
  }

  @Test("A process that is not there, and one without memory, are refused in a sentence")
  func refusals() throws {
    #expect(throws: SoftDirtyProcess.Refusal.self) { try SoftDirtyProcess(pid: 77, root: "/nonexistent") }
    #expect(throws: SoftDirtyProcess.Refusal.self) {
      _ = try self.process("garbage\n-\nzz-1 rw-p\n2-1 rw-p\n", softDirty: [])
    }
  }

  @Test("Whether the kernel has the bits is found out, and if it has, a write shows")
  func support() throws {
    guard SoftDirtyProcess.isSupported else {
      print("NOT TESTED: this kernel has no soft-dirty bits")
      return
    }
    let own = try SoftDirtyProcess(pid: ProcessInfo.processInfo.processIdentifier)
    try own.clear()
    #expect(try own.written().pages > 0)
  }
}
