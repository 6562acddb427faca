// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import TestSupport
import Testing

@testable import Transport

@Suite struct ZeroCopyLedgerTests {
  @Test("Ranges of sends are counted down, past the last number too")
  func wrapsAround() {
    var ledger = ZeroCopyLedger(next: .max - 1)
    for _ in 0..<4 { ledger.noteSend() }
    let done = ledger.noteDone(first: .max - 1, last: 0)
    #expect(done == 3 && ledger.outstanding == 1)
    let last = ledger.noteDone(first: 1, last: 1)
    #expect(last == 1 && ledger.outstanding == 0)
  }

  @Test("What was not sent, or is done, counts for nothing")
  func notSent() {
    var ledger = ZeroCopyLedger()
    for _ in 0..<3 { ledger.noteSend() }
    for (first, last) in [(3, 3), (0, 3), (0, .max), (2, 1)] as [(UInt32, UInt32)] {
      let done = ledger.noteDone(first: first, last: last)
      #expect(done == 0, "\(first)...\(last)")
    }
    let late = ledger.noteDone(first: 1, last: 2)
    let again = ledger.noteDone(first: 0, last: 1)
    #expect(late == 2 && again == 0 && ledger.outstanding == 1)
  }
}

@Suite struct ZeroCopyTests {
  static let isHere: Bool = {
    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    return hs_socket_enable_zero_copy(descriptor) == 0
  }()
  static let lacking: Comment = "this kernel refuses SO_ZEROCOPY: nothing of it was tested"

  /// Sends a short head and a long lasting body, `rounds` times, while the other end reads.
  /// - Returns: whether all arrived as it was.
  static func exchange(
    _ pair: Pair, _ zeroCopy: ZeroCopy?, rounds: Int, bodyByteCount: Int = 256 << 10, atOnce: Bool = false
  ) throws -> Bool {
    let head = (0..<96).map { UInt8($0) }
    var body = [UInt8](repeating: 7, count: bodyByteCount)
    let sample = SamplePages.image(Array(repeating: .random, count: 64), seed: 3)
    body.replaceSubrange(0..<sample.count, with: sample)
    let whole = head + body
    let reader = Mailbox<Bool>()
    let thread = HostThread(name: "reader") {
      let isSame = (0..<rounds).allSatisfy { _ in
        let found = try? pair.far.receive(count: whole.count)
        return found == whole
      }
      reader.post(isSame)
    }
    defer { thread.join() }
    let vector = IOVector()
    for _ in 0..<rounds {
      try unsafe head.withUnsafeBytes { head in
        try unsafe body.withUnsafeBytes { body in
          unsafe vector.append(head)
          unsafe vector.append(body, isLasting: true)
          if atOnce {
            while try !pair.near.sendAtOnce(vector, zeroCopy: zeroCopy) { HostClock.sleep(nanoseconds: 100_000) }
          } else {
            try pair.near.send(vector, zeroCopy: zeroCopy)
          }
        }
      }
    }
    let isSame = reader.next(nanoseconds: 10_000_000_000)
    // The arrays are gone after this.
    _ = zeroCopy?.finish()
    return isSame == true
  }

  @Test(
    "What is sent without a copy arrives; every completion is taken; on loopback each says that it was copied",
    .enabled(if: isHere, lacking), arguments: [false, true])
  func loopback(atOnce: Bool) throws {
    let pair = try Pair(ConnectionTests.anyPort)
    let zeroCopy = try #require(ZeroCopy(pair.near, .init(.on)))
    let isSame = try Self.exchange(pair, zeroCopy, rounds: 100, atOnce: atOnce)
    #expect(isSame)
    let left = zeroCopy.finish()
    #expect(left == 0)
    let use = zeroCopy.use
    // A send may be taken in pieces; some may have been refused for what was under way.
    #expect(use.sends + use.fallbacks >= 100 && use.sends > 0)
    #expect(use.copiedAnyway == use.sends)
    #expect(use.bytes <= 100 * 256 << 10)
    #expect(use.outcome == .copiedByKernel)
    #expect(pair.near.sentByteCount == 100 * (96 + 256 << 10))
  }

  @Test("A socket that cannot do it sends with the copy")
  func refused() throws {
    let folder = TemporaryDirectory()
    let pair = try Pair(.unix(path: folder.file("s")))
    let zeroCopy = try #require(ZeroCopy(pair.near, .init(.on)))
    let isSame = try Self.exchange(pair, zeroCopy, rounds: 3)
    #expect(isSame)
    #expect(zeroCopy.use.outcome == .refused && zeroCopy.use.sends == 0)
  }

  @Test("Auto does not try peers on this host; made to, it gives up when the kernel says that it copies")
  func automatic() throws {
    let pair = try Pair(ConnectionTests.anyPort)
    #expect(pair.near.isLocal && pair.far.isLocal)
    #expect(ZeroCopy(pair.near, .init(.automatic)) == nil)
    #expect(ZeroCopy(pair.near, .init(.off)) == nil)
    let zeroCopy = try #require(
      ZeroCopy(pair.near, .init(.automatic, trialByteCount: 2 << 20, triesLocalPeers: true)))
    let isSame = try Self.exchange(pair, zeroCopy, rounds: 4)
    #expect(isSame && zeroCopy.use == ZeroCopyUse())
  }

  @Test("A trial on loopback ends with the kernel's copy, and nothing is tried again", .enabled(if: isHere, lacking))
  func trial() throws {
    let pair = try Pair(ConnectionTests.anyPort)
    let zeroCopy = try #require(
      ZeroCopy(pair.near, .init(.automatic, trialByteCount: 4 << 20, triesLocalPeers: true)))
    let isSame = try Self.exchange(pair, zeroCopy, rounds: 100)
    #expect(isSame)
    let use = zeroCopy.use
    #expect(use.outcome == .copiedByKernel && use.copiedAnyway == use.sends)
    // 25 MiB were sent: of those at most the trial's.
    #expect(use.sends > 0 && use.bytes <= 5 << 20)
  }

  /// Root may pin what it likes.
  static let pinLimit = geteuid() == 0 ? -1 : Int(hs_memory_lock_limit())

  @Test(
    "More than may be pinned goes with the copy; where one send is too much, it is not tried for ever",
    .enabled(if: isHere && (0...64 << 20).contains(pinLimit), "this process may pin what it likes"))
  func fallsBack() throws {
    let pair = try Pair(ConnectionTests.anyPort)
    let zeroCopy = try #require(ZeroCopy(pair.near, .init(.on)))
    // A blocking send is taken whole: each is too much.
    let isSame = try Self.exchange(pair, zeroCopy, rounds: 20, bodyByteCount: Self.pinLimit + (1 << 20))
    #expect(isSame)
    #expect(zeroCopy.use.fallbacks == 16 && zeroCopy.use.sends == 0 && zeroCopy.use.outcome == .refused)
  }

  @Test("Waiting for completions ends with the connection, and with patience", .enabled(if: isHere, lacking))
  func finishes() throws {
    let pair = try Pair(ConnectionTests.anyPort)
    let zeroCopy = try #require(ZeroCopy(pair.near, .init(.on)))
    let body = [UInt8](repeating: 9, count: 64 << 20)
    let vector = IOVector()
    try unsafe body.withUnsafeBytes { body in
      unsafe vector.append(body, isLasting: true)
      // Nobody reads: what the socket has room for is under way.
      while try !pair.near.sendAtOnce(vector, zeroCopy: zeroCopy), pair.near.sentByteCount == 0 {}
      let started = HostClock.now()
      zeroCopy.finish()
      #expect(HostClock.now() - started < 1_500_000_000)
      pair.near.shutDown()
      let ended = HostClock.now()
      zeroCopy.finish()
      #expect(HostClock.now() - ended < 200_000_000)
    }
  }

  @Test("Of several channels' outcomes the one that says most stays, and the counts add up")
  func sums() {
    var sum = ZeroCopyUse()
    var one = ZeroCopyUse()
    (one.sends, one.copiedAnyway, one.bytes, one.fallbacks, one.outcome) = (3, 1, 100, 2, .notCheaper)
    sum.add(one)
    one.outcome = .refused
    sum.add(one)
    #expect((sum.sends, sum.copiedAnyway, sum.bytes, sum.fallbacks) == (6, 2, 200, 4))
    #expect(sum.outcome == .notCheaper)
    one.outcome = .kept
    sum.add(one)
    #expect(sum.outcome == .kept)
  }
}
