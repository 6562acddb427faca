// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Migration
import PageKernels
import PageModel
import Synchronization
import TestSupport
import Testing
import Transport
import Wire

@testable import QEMUBridge

@Suite("A proxy's other half that says more than can be heard")
struct RelayFloodTests {
  /// Marks of one lane, each of an iteration of its own.
  private static func marks(_ iterations: Range<UInt32>) -> [UInt8] {
    iterations.flatMap { iteration in
      let header = FrameHeader(
        type: .endOfIteration, sequence: UInt64(iteration) - 1, iteration: iteration, lane: 0,
        bodyChecksum: PageHash.checksum([]))
      var bytes = [UInt8](repeating: 0, count: FrameHeader.byteCount)
      bytes.withMutableRawSpan { header.encode(into: &$0) }
      return bytes
    }
  }

  @Test("While nobody hears marks of lanes, no more frames are received")
  func marks() throws {
    let control = try #require(DriverSockets())
    let data = try #require(DriverSockets())
    var hello = RelayScript.hello
    (hello.channelCount, hello.laneCount) = (1, 1)
    let arrival = RelayArrival(
      ControlChannel(control.near), hello,
      configuration: .init(hypervisor: .unix(path: "/nonexistent"), software: "test"),
      logger: .silent)
    let pipeline = arrival.receive(into: try ArrivingMemory(try BlockTable(hello.blocks), shared: [:]), [data.near])
    pipeline.start()
    defer {
      arrival.events.close()
      pipeline.stop()
    }
    // Far more than a socket holds.
    let all = Self.marks(1..<40_001)
    data.far.setTimeouts(receive: nil, send: .milliseconds(300))
    #expect(throws: TransportError.timedOut) { try data.far.send(all) }
    let taken = Int(pipeline.receivedByteCount) / FrameHeader.byteCount
    #expect((1000...1100).contains(taken))
    // It goes on once they are heard.
    for _ in 0..<500 { _ = arrival.events.next() }
    #expect(Waiting.until { Int(pipeline.receivedByteCount) / FrameHeader.byteCount >= taken + 400 })
  }

  private enum Waiting {
    static func until(_ condition: () -> Bool) -> Bool {
      let deadline = HostClock.now() + 5_000_000_000
      while HostClock.now() < deadline {
        if condition() { return true }
        HostClock.sleep(nanoseconds: 1_000_000)
      }
      return false
    }
  }
}
