// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Testing

@testable import Lanes

@Suite struct FrameRingTests {
  /// Puts `number` into the current slot and publishes it.
  private static func publish(_ number: UInt64, to ring: FrameRing) {
    ring.withSlot { slot in
      unsafe slot.withUnsafeMutableBytes { unsafe $0.storeBytes(of: number, toByteOffset: 4096, as: UInt64.self) }
    }
    ring.publish(start: 4096, byteCount: 8)
  }

  private static func number(_ ring: FrameRing, _ index: Int) -> UInt64 {
    unsafe ring.frame(index).load(as: UInt64.self)
  }

  @Test("Frames come out once each, in order, whatever the two sides' speeds", arguments: [1, 2, 3, 16])
  func order(slotCount: Int) throws {
    let spot = ParkingSpot()
    let ring = try FrameRing(slotCount: slotCount, frameSpot: spot)
    let count: UInt64 = 20_000
    let producer = HostThread(name: "producer") {
      for number in 0..<count {
        guard ring.waitForSlot(isStopped: { false }) else { return }
        Self.publish(number, to: ring)
      }
    }
    var next: UInt64 = 0
    while next < count {
      _ = spot.wait { ring.readyCount > 0 }
      let ready = ring.readyCount
      #expect(ready <= slotCount)
      for index in 0..<ready {
        let found = Self.number(ring, index)
        #expect(found == next + UInt64(index))
      }
      ring.release(ready)
      next += UInt64(ready)
    }
    producer.join()
    #expect(ring.readyCount == 0)
  }

  @Test("A full ring holds its producer back, and lets it go when stopped")
  func backPressure() throws {
    let ring = try FrameRing(slotCount: 2, frameSpot: ParkingSpot())
    for number in 0..<2 {
      #expect(ring.waitForSlot(isStopped: { false }))
      Self.publish(UInt64(number), to: ring)
    }
    final class Shared: Sendable {
      let stop = Mutex(false)
      let granted = Mutex<Bool?>(nil)
    }
    let shared = Shared()
    let producer = HostThread(name: "producer") {
      let answer = ring.waitForSlot(isStopped: { shared.stop.withLock { $0 } })
      shared.granted.withLock { $0 = answer }
    }
    HostClock.sleep(nanoseconds: 30_000_000)
    #expect(ring.readyCount == 2)
    var answer = shared.granted.withLock { $0 }
    #expect(answer == nil, "the producer went on")
    shared.stop.withLock { $0 = true }
    ring.wakeProducer()
    producer.join()
    answer = shared.granted.withLock { $0 }
    #expect(answer == false)
  }

  @Test("A frame lies in one piece: the payload begins right after a full table of records")
  func layout() {
    #expect(FrameRing.payloadOffset == 4096)
    #expect(FrameRing.slotByteCount == 4096 + 97 * 4096)
  }
}
