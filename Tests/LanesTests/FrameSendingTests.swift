// SPDX-License-Identifier: Apache-2.0
import Lanes
import Testing

@Suite struct FrameSendingTests {
  @Test(
    "Who sends, by lanes, channels, CPUs, codec and guest",
    arguments: [
      (2, 2, 2, false, false, FrameSending.lanes), (2, 2, 3, false, false, .lanes), (2, 2, 4, false, false, .senders),
      (3, 2, 1, false, false, .senders), (2, 2, 2, true, false, .both), (2, 1, 64, true, false, .both),
      (2, 2, 2, true, true, .lanes), (2, 2, 4, true, true, .senders), (256, 64, 64, true, false, .senders),
    ])
  func decides(_ lanes: Int, _ channels: Int, _ cpus: Int, _ encodes: Bool, _ runs: Bool, _ expected: FrameSending) {
    let found = FrameSending(laneCount: lanes, channelCount: channels, cpuCount: cpus, encodes: encodes, runs: runs)
    #expect(found == expected)
    #expect(found.hasSenders == (expected != .lanes))
  }
}
