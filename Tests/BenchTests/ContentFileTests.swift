// SPDX-License-Identifier: Apache-2.0
import Bench
import Foundation
import GuestMemory
import PageModel
import TestSupport
import Testing
import Workload

@Suite struct ContentFileTests {
  private let folder = TemporaryDirectory()

  private func make(
    _ name: String, mix: String = "25:50:25", seed: UInt64 = 1, replace: Bool = false, cancelled: Bool = false
  ) throws -> UInt64? {
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 4 << 20)])
    let content = try WorkloadContent(mix: try ContentMix(parsing: mix), seed: seed, byteCount: 4 << 20)
    return try ContentFile.make(
      path: folder.file(name), blocks: blocks, content: content, replace: replace, isCancelled: { cancelled })
  }

  private func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: folder.file(name))) }

  @Test("The same seed makes the same bytes, another seed others; zeros are holes")
  func deterministic() throws {
    let written = try #require(try make("a"))
    _ = try make("b")
    _ = try make("c", seed: 2)
    #expect(try bytes("a").count == 4 << 20)
    #expect(try bytes("a") == bytes("b"))
    #expect(try bytes("a") != bytes("c"))
    let zeroPages = try stride(from: 0, to: 4 << 20, by: 4096).count { offset in
      try bytes("a")[offset..<offset + 4096].allSatisfy { $0 == 0 }
    }
    #expect(zeroPages > 0 && written == UInt64((1024 - zeroPages) * 4096))
    #expect(try make("d", mix: "100:0:0") == 0)
  }

  @Test("A guest with the same mix and seed holds the same bytes")
  func sameAsGuest() throws {
    _ = try make("a")
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 4 << 20)])
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let guest = try WorkloadGuest(
      WorkloadPlan(pattern: .idle, mix: ContentMix(zero: 25, text: 50, random: 25)), memory: memory)
    guest.fill()
    let held = unsafe Data(bytes: memory.base(block: 0), count: 4 << 20)
    #expect(try bytes("a") == held)
  }

  @Test("A file that exists stays, unless it may be replaced; a cancelled one is not there")
  func existing() throws {
    _ = try make("a")
    #expect(throws: GuestMemoryError.outputExists(path: folder.file("a"))) { try make("a", seed: 2) }
    let before = try bytes("a")
    _ = try make("a", seed: 2, replace: true)
    #expect(try bytes("a") != before)
    #expect(try make("e", cancelled: true) == nil)
    #expect(
      !TemporaryDirectory.exists(folder.file("e")) && !TemporaryDirectory.exists(folder.file("e.pageferry-partial")))
  }
}
