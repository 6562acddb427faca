// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import Synchronization
import SystemPackage

extension Connection {
  /// What TCP knows about the way to the peer.
  public struct Path: Sendable, Equatable {
    /// Nanoseconds: of late (with what stands in queues), and the least so far.
    public var roundTrip: UInt64
    public var leastRoundTrip: UInt64
    /// Segments sent, those sent again included, and how many of them were sent again.
    public var segments: Int
    public var retransmitted: Int
    /// Payload bytes in a segment.
    public var segmentByteCount: Int
  }

  /// What the kernel says now; nil if this is not a TCP connection.
  public var path: Path? {
    var found = hs_tcp_path()
    guard unsafe hs_tcp_get_path(descriptor, &found) == 0 else { return nil }
    return Path(
      roundTrip: UInt64(found.round_trip_us) * 1000, leastRoundTrip: UInt64(found.least_round_trip_us) * 1000,
      segments: Int(found.segments), retransmitted: Int(found.retransmitted),
      segmentByteCount: Int(found.segment_bytes))
  }

  /// Receives what is there, at least one byte, to the start of `bytes`: for text, whose length nobody has said.
  /// - Returns: how many bytes; 0 at the end of the stream.
  public func receiveSome(into bytes: inout MutableRawSpan) throws(TransportError) -> Int {
    while true {
      // SAFETY: at most the span's bytes are written, and the span is exclusively ours.
      let got = unsafe bytes.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
      if got >= 0 {
        received.add(UInt64(got), ordering: .relaxed)
        return got
      }
      let failure = Errno(rawValue: errno)
      if failure == .interrupted { continue }
      throw stopped.load(ordering: .relaxed) ? .stopped : TransportError(failure)
    }
  }
}
