// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing
import Transport

@Suite struct PathTests {
  @Test("TCP tells about the way to the peer; a Unix socket has none")
  func path() throws {
    let pair = try Pair(ConnectionTests.anyPort)
    try pair.near.send([UInt8](repeating: 1, count: 200_000))
    _ = try pair.far.receive(count: 200_000)
    let path = try #require(pair.near.path)
    #expect(path.roundTrip > 0 && path.segments > 1 && path.segmentByteCount > 500)
    #expect(path.retransmitted <= path.segments)
    let folder = TemporaryDirectory()
    #expect(try Pair(.unix(path: folder.file("s"))).near.path == nil)
  }

  @Test("Receiving what is there takes no more than that, and says when the stream ends")
  func some() throws {
    let pair = try Pair(ConnectionTests.anyPort)
    var room = [UInt8](repeating: 0, count: 64)
    try pair.near.send(Array("hello".utf8))
    let got = try room.withMutableRawSpan { (span) throws(TransportError) in try pair.far.receiveSome(into: &span) }
    #expect(got == 5 && Array(room.prefix(5)) == Array("hello".utf8))
    #expect(pair.far.receivedByteCount == 5)
    pair.far.setTimeout(.milliseconds(20))
    #expect(throws: TransportError.timedOut) {
      try room.withMutableRawSpan { (span) throws(TransportError) in _ = try pair.far.receiveSome(into: &span) }
    }
    pair.near.finishSending()
    let end = try room.withMutableRawSpan { (span) throws(TransportError) in try pair.far.receiveSome(into: &span) }
    #expect(end == 0)
  }
}
