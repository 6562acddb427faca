// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageCodecs
import PageModel
import Synchronization
import TestSupport
import Testing
import Transport
import Wire

@testable import Lanes

extension LiveLanes {
  /// Opens one more channel on both sides, and has lanes feed it.
  func addChannel() throws {
    let (near, far) = try harness.connect()
    #expect(receiver.add(far, number: receiver.channelCount + 1))
    #expect(sender.add(near))
  }
}

@Suite("Lanes move between channels while frames flow")
struct LaneMoveTests {
  struct Shape: Sendable, CustomTestStringConvertible {
    var codec = "none"
    var lanes = 4
    var channels = 2
    /// Few: lanes send themselves where each has a channel; many: each channel has a thread.
    var cpus = 64
    var decoders = 0
    var bandwidth: UInt64 = 0
    var testDescription: String {
      "\(codec), \(channels) to \(lanes) channels, \(cpus) CPUs, \(decoders) decoders, \(bandwidth) B/s"
    }
  }

  private static let shapes = [
    Shape(), Shape(codec: "zstd-long:1", decoders: 1), Shape(codec: "lz4", decoders: 2),
    Shape(codec: "auto", lanes: 3, channels: 1, decoders: 1),
    Shape(lanes: 3, channels: 3, cpus: 1), Shape(codec: "zstd:1", lanes: 2, channels: 2, cpus: 1, decoders: 1),
    Shape(lanes: 8, channels: 3, bandwidth: 40_000_000), Shape(lanes: 3, channels: 3, cpus: 1, bandwidth: 40_000_000),
  ]

  @Test(
    "A guest writes, the number of channels changes at random: in the end both sides hold the same", arguments: shapes)
  func random(shape: Shape) throws {
    let guest = try LiveLanesTests.guest(seed: 21)
    let lanes = try LiveLanes(
      guest, codec: shape.codec, lanes: shape.lanes, channels: shape.channels, decoders: shape.decoders,
      cpus: shape.cpus, bandwidth: shape.bandwidth, moves: true)
    defer { lanes.stop() }
    for _ in shape.channels..<shape.lanes { try lanes.addChannel() }
    let isOver = Shared()
    let writer = HostThread(name: "writer") {
      var random = SeededGenerator(seed: 22)
      while !isOver.value {
        LiveLanesTests.disturb(guest, &random, count: 20)
        HostClock.sleep(nanoseconds: 1_000_000)
      }
    }
    let mover = HostThread(name: "mover") { [sender = lanes.sender] in
      var random = SeededGenerator(seed: 23)
      while !isOver.value {
        sender.use(channelCount: Int.random(in: 1...shape.lanes, using: &random))
        HostClock.sleep(nanoseconds: UInt64.random(in: 0...3_000_000, using: &random))
      }
    }
    let outcome = Result {
      try lanes.iterate(.bulk)
      for _ in 0..<12 { try lanes.iterate(.again(holdBack: false)) }
    }
    isOver.set()
    writer.join()
    mover.join()
    try outcome.get()
    lanes.sender.use(channelCount: shape.lanes)
    try lanes.iterate(.last)
    #expect(lanes.differences() == 0)
    let applied = lanes.receiver.appliedFrameCounts
    #expect(applied.count == shape.lanes && applied.allSatisfy { $0 > 0 }, "\(applied)")
  }

  private final class Shared: Sendable {
    private let flag = Atomic<Bool>(false)
    var value: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
  }

  @Test("Only the channels in use carry anything, from one to one for each lane", arguments: [1, 64])
  func inUse(cpus: Int) throws {
    let guest = try LiveLanesTests.guest(seed: 31, [1500])
    let lanes = try LiveLanes(guest, lanes: 4, channels: 4, cpus: cpus, moves: true)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    var random = SeededGenerator(seed: 32)
    for count in [1, 3, 2, 4, 1, 4] {
      lanes.sender.use(channelCount: count)
      LiveLanesTests.disturb(guest, &random, count: 200)
      try lanes.iterate(.again(holdBack: false))
      #expect(lanes.sender.channelCountInUse == count && lanes.receiver.channelCountInUse == count)
      let before = lanes.receiver.appliedFrameCounts
      LiveLanesTests.disturb(guest, &random, count: 200)
      try lanes.iterate(.again(holdBack: false))
      let after = lanes.receiver.appliedFrameCounts
      #expect(zip(before, after).map { $0 < $1 } == (0..<4).map { $0 < count })
      #expect(lanes.differences() == 0)
    }
    for wanted in [0, -1, 5, .max] {
      lanes.sender.use(channelCount: wanted)
      #expect(lanes.sender.channelCountInUse == min(4, max(1, wanted)))
    }
  }

  @Test("It can be stopped while lanes are on their way", arguments: [1, 64])
  func stopped(cpus: Int) throws {
    let guest = try LiveLanesTests.guest(seed: 41, [4000])
    let lanes = try LiveLanes(guest, lanes: 3, channels: 3, cpus: cpus, bandwidth: 200_000, moves: true)
    lanes.sender.begin(Iteration(number: 1, kind: .bulk))
    HostClock.sleep(nanoseconds: 30_000_000)
    lanes.sender.use(channelCount: 1)
    HostClock.sleep(nanoseconds: 30_000_000)
    let started = HostClock.now()
    lanes.stop()
    // All of it would take a minute.
    #expect(HostClock.now() - started < 5_000_000_000)
    let (near, far) = try lanes.harness.connect()
    #expect(!lanes.sender.add(near) && !lanes.receiver.add(far, number: 4))
  }

  @Test("The time of the busiest channel never goes back, whichever are in use")
  func busyTime() throws {
    let guest = try LiveLanesTests.guest(seed: 51, [1500])
    let lanes = try LiveLanes(guest, lanes: 3, channels: 3, moves: true)
    defer { lanes.stop() }
    var (last, random) = (UInt64(0), SeededGenerator(seed: 52))
    for count in [3, 1, 2, 3, 1] {
      lanes.sender.use(channelCount: count)
      LiveLanesTests.disturb(guest, &random, count: 300)
      try lanes.iterate(.again(holdBack: false))
      let busy = try #require(lanes.sender.linkBusyNanoseconds)
      #expect(busy >= last)
      last = busy
    }
  }

  @Test("A lane set is a set")
  func laneSet() {
    var random = SeededGenerator(seed: 61)
    let lanes = LaneSet()
    var reference: Set<Int> = []
    for _ in 0..<3000 {
      let lane = Int.random(in: 0..<256, using: &random)
      if Bool.random(using: &random) {
        lanes.insert(lane)
        reference.insert(lane)
      } else {
        lanes.remove(lane)
        reference.remove(lane)
      }
    }
    var found: [Int] = []
    #expect(
      !lanes.contains { lane in
        found.append(lane)
        return false
      })
    #expect(found == reference.sorted())
    for lane in 0..<256 { #expect(lanes.contains(lane) == found.contains(lane)) }
    #expect(lanes.contains { $0 == found[found.count / 2] })
  }
}
