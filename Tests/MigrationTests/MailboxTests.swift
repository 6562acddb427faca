// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Testing

@Suite("Mailboxes")
struct MailboxTests {
  @Test("Events come in order, whatever their number")
  func order() {
    let mailbox = Mailbox<Int>()
    var next = 0
    for round in 0..<20 {
      for event in 0..<100 * round { mailbox.post(event) }
      for event in 0..<100 * round { if mailbox.next(nanoseconds: 0) == event { next += 1 } }
    }
    #expect(next == (0..<20).reduce(0) { $0 + 100 * $1 })
    #expect(mailbox.next(nanoseconds: 0) == nil)
  }

  @Test("Who posts with a limit waits for room, and not once nobody takes any more")
  func room() {
    let mailbox = Mailbox<Int>()
    let posted = Atomic<Int>(0)
    let thread = HostThread(name: "poster") {
      for event in 0..<500 {
        mailbox.post(event, roomFor: 10)
        posted.add(1, ordering: .relaxed)
      }
    }
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(posted.load(ordering: .relaxed) <= 10)
    var inOrder = 0
    for event in 0..<300 where mailbox.next(nanoseconds: 5_000_000_000) == event { inOrder += 1 }
    #expect(inOrder == 300)
    mailbox.close()
    thread.join()
    #expect(posted.load(ordering: .relaxed) == 500)
  }
}
