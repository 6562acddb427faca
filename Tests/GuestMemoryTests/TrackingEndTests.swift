// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel
import Synchronization
import TestSupport
import Testing

@Suite("Tracked memory: the end of tracking", trackingIsPossible, .timeLimit(.minutes(1)))
struct TrackingEndTests {
  @Test("Writers go on when tracking ends under them, again and again", arguments: LogKind.available)
  func underWriters(kind: LogKind) throws {
    let guest = try TrackedGuest(.small, kind, pageCounts: [4096])
    for round in 0..<10 {
      let writes = Atomic<Int>(0)
      let failed = Mutex<(any Error)?>(nil)
      Threads.run(4) { thread in
        // Thread 0 ends tracking while the others are in the midst of their first writes to each page.
        if thread == 0 {
          do {
            try guest.log.start()
            while writes.load(ordering: .relaxed) < 200 + round * 50 { _ = sched_yield() }
            guest.log.stop()
          } catch { failed.withLock { $0 = error } }
        } else {
          for page in stride(from: thread - 1, to: 4096, by: 3) {
            guest.write(UInt64(round), block: 0, page: page)
            writes.add(1, ordering: .relaxed)
          }
        }
      }
      #expect(failed.withLock { $0 } == nil)
      for page in 0..<4096 where guest.read(block: 0, page: page) != UInt64(round) {
        Issue.record("page \(page) was not written in round \(round)")
      }
    }
  }

  @Test("A log may be stopped twice, unstarted, and started again; and no rearm after it", arguments: LogKind.available)
  func restarted(kind: LogKind) throws {
    let guest = try TrackedGuest(.small, kind, pageCounts: [640])
    guest.log.stop()
    for page in [3, 500] {
      try guest.log.start()
      guest.write(block: 0, page: page)
      #expect(try guest.synced() == [[page]])
      guest.log.stop()
      guest.log.stop()
      guest.write(2, block: 0, page: 30)
      #expect(throws: GuestMemoryError.self) { try guest.log.rearm(block: 0, spans: 0..<8) }
    }
  }

  @Test("Memory whose log was let go without a stop can be written", arguments: LogKind.available)
  func abandoned(kind: LogKind) throws {
    let guest = try TrackedGuest(.memfd, kind, pageCounts: [640])
    do {
      let log = try kind.log(for: guest.memory)
      try log.start()
      guest.write(block: 0, page: 1)
    }
    for page in 0..<640 { guest.write(block: 0, page: page) }
    try guest.log.start()
    #expect(try guest.synced() == [[]])
  }
}
