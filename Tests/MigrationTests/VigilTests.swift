// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import TestSupport
import Testing

@testable import Migration

@Suite("Watching over a peer's silence") struct VigilTests {
  @Test("Whoever speaks while it is looked whether he is silent is not silent")
  func heardMeanwhile() throws {
    let vigil = Vigil(limit: .milliseconds(1))
    vigil.hear()
    let isOver = Atomic<Bool>(false)
    let failures = Atomic<Int>(0)
    Threads.run(4) { number in
      if number == 0 {
        // Heard between a look at the clock and one at what was heard, it would be in the future.
        for _ in 0..<100_000 {
          do { try vigil.check(peer: "peer", atLeast: .seconds(60)) } catch {
            failures.add(1, ordering: .relaxed)
          }
        }
        isOver.store(true, ordering: .relaxed)
      } else {
        while !isOver.load(ordering: .relaxed) { vigil.hear() }
      }
    }
    #expect(failures.load(ordering: .relaxed) == 0)
  }

  @Test("Silence that is too long is a failure that names the peer")
  func silent() throws {
    let vigil = Vigil(limit: .milliseconds(20))
    vigil.hear()
    HostClock.sleep(nanoseconds: 40_000_000)
    let failure = #expect(throws: MigrationFailure.self) { try vigil.check(peer: "host:1") }
    #expect(failure?.code == .peerLost && failure?.reason.contains("host:1") == true)
    vigil.hear()
    #expect(throws: Never.self) { try vigil.check(peer: "host:1", factor: 1000) }
  }
}
