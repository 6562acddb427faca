// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("Parts of a proxy")
struct RelayPartsTests {
  @Test("The window lets nothing in that it has no room for, and grows with what is confirmed")
  func window() {
    let window = RelayWindow()
    let first = window.awaitRoom(1 << 30)
    #expect(first == 256 << 10)
    window.note(taken: first)
    let waiting = HostThread(name: "test-window") { window.confirm(upTo: UInt64(first)) }
    #expect(window.awaitRoom(4096) == 4096)
    waiting.join()
    // A fast way: what is confirmed at once makes room for more.
    var taken = UInt64(first)
    let began = HostClock.now()
    while HostClock.now() - began < 300_000_000 {
      let count = window.awaitRoom(1 << 20)
      window.note(taken: count)
      taken += UInt64(count)
      window.confirm(upTo: taken)
      HostClock.sleep(nanoseconds: 1_000_000)
    }
    #expect(window.use.limit > 1 << 20)
    window.stop()
    #expect(window.awaitRoom(1) == 0)
  }

  @Test("A slow way makes it small; a peer that confirms what was not sent changes nothing")
  func slowWindow() {
    let window = RelayWindow()
    var taken: UInt64 = 0
    for _ in 0..<12 {
      let count = min(10_000, window.awaitRoom(10_000))
      window.note(taken: count)
      taken += UInt64(count)
      HostClock.sleep(nanoseconds: 20_000_000)
      window.confirm(upTo: taken)
    }
    #expect(window.use.limit == 64 << 10)
    window.confirm(upTo: taken + 1)
    window.confirm(upTo: 0)
    #expect(window.use.taken == taken)
  }

  @Test("An iteration is complete when every lane has ended it; marks out of turn are refused")
  func marks() throws {
    var marks = LaneMarks(laneCount: 2)
    #expect(try marks.note(0, 1) == nil)
    #expect(try marks.note(0, 2) == nil)
    #expect(try marks.note(1, 1) == 1)
    #expect(try marks.note(1, 2) == 2)
    for (lane, iteration) in [(0, 2), (0, 4), (2, 3), (-1, 3)] as [(Int, UInt32)] {
      #expect(throws: MigrationFailure.self) { try marks.note(lane, iteration) }
    }
  }

  @Test("A pong is found however the answers are cut", arguments: 1...20)
  func pong(piece: Int) {
    let bytes: [UInt8] = [0, 2, 0, 4, 0, 0, 0, 1, 0, 2, 0, 4, 0x12, 0x34, 0x56, 0x78, 0, 1, 0, 4, 0, 0, 0, 0]
    var answers = ReturnPath()
    var found: [UInt32] = []
    for first in stride(from: 0, to: bytes.count, by: piece) {
      if let number = answers.pong(in: bytes[first..<min(bytes.count, first + piece)]) { found.append(number) }
    }
    #expect(found.last == 0x1234_5678)
  }

  @Test("A stream's beginning may leave a section open for pages, or end without a footer; in a record it may not end")
  func openOpening() throws {
    let opening = ScriptedSource(seed: 1).opening
    let open = try StreamOpening(parsing: opening + [2, 0, 0, 0, 2])
    #expect(open.isOpen && open.hasFooters && open.blocks.count == 3)
    let bare = try StreamOpening(parsing: opening.dropLast(5))
    #expect(!bare.isOpen && !bare.hasFooters)
    let bareOpen = try StreamOpening(parsing: opening.dropLast(5) + [2, 0, 0, 0, 2])
    #expect(bareOpen.isOpen && !bareOpen.hasFooters)
    for rest in [[2, 0, 0, 0], [2, 0, 0, 0, 2, 0], [2, 0, 0, 0, 2] + [UInt8](repeating: 0, count: 7)] as [[UInt8]] {
      #expect(throws: StreamError.self, "\(rest)") { try StreamOpening(parsing: opening + rest) }
    }
  }

  @Test("Room that is claimed is nobody else's; what rests takes none")
  func claims() {
    let window = RelayWindow()
    #expect(window.claim(1 << 30, atLeast: 0) == 256 << 10)
    // The rest of what has begun, in any case.
    #expect(window.claim(1 << 20, atLeast: 100) == 100)
    window.giveBack(1100)
    #expect(window.awaitRoom(5000) == 1000)
    window.note(taken: 1000)
    let waiting = HostThread(name: "test-window") { window.rest(3000) { HostClock.sleep(nanoseconds: 50_000_000) } }
    #expect(window.claim(5000, atLeast: 0) == 3000)
    waiting.join()
    let stopping = HostThread(name: "test-window") { window.stop() }
    #expect(window.claim(5000, atLeast: 0) == 0)
    stopping.join()
  }

  @Test("A stream's beginning says what is declared; anything else is refused")
  func opening() throws {
    var source = ScriptedSource(seed: 1)
    source.hasReturnPath = true
    let opening = try StreamOpening(parsing: source.opening)
    #expect(opening.blocks.map(\.name) == ScriptedSource.names && opening.section == 2 && opening.hasFooters)
    #expect(opening.ping == 1 && opening.hasReturnPath && !opening.advisesPostcopy)
    for count in 0..<source.opening.count - 14 {
      #expect(throws: StreamError.self, "\(count)") { try StreamOpening(parsing: Array(source.opening.prefix(count))) }
    }
    var random = SeededGenerator(seed: 2)
    for _ in 0..<3000 {
      var bytes = source.opening
      bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      _ = try? StreamOpening(parsing: bytes)
    }
  }
}
