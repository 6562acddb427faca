// SPDX-License-Identifier: Apache-2.0

extension AdaptiveChooser {
  /// What happened to one frame. Times are in nanoseconds.
  public struct Frame: Sendable {
    /// How it was encoded, as an index into the ladder: that of ``AdaptiveChooser/rung(isBehind:)``.
    public var rung: Int
    /// Bytes of its data pages, and of the whole frame on the wire.
    public var dataByteCount: Int
    public var wireByteCount: Int
    /// What the lane's fair share of the link was since the frame before: bytes that all lanes together sent, divided by
    /// the lanes at work. A lane that is favoured by chance must not spend what the others need: the migration is over
    /// when the last one is.
    public var fairByteCount: Int
    /// By the clock on the wall: since the frame before was finished, and of that, waiting until there was room in the
    /// ring or in the socket.
    public var elapsed: UInt64
    public var waiting: UInt64
    /// Of the time elapsed, the channel had data on its way; and of that, the receiver had no room. Where nobody can
    /// tell, all of it.
    public var busy: UInt64
    public var receiverLimited: UInt64
    /// On the CPU: everything since the frame before, and of that, encoding and sending.
    public var working: UInt64
    public var encoding: UInt64
    public var sending: UInt64
    /// ``AdaptiveChooser/linkSeen`` of another lane, lately: the link is one for all of them.
    public var linkOfOthers: Double?

    public init(
      rung: Int, dataByteCount: Int, wireByteCount: Int, fairByteCount: Int, elapsed: UInt64, waiting: UInt64,
      busy: UInt64,
      receiverLimited: UInt64, working: UInt64, encoding: UInt64, sending: UInt64,
      linkOfOthers: Double? = nil
    ) {
      self.rung = rung
      self.dataByteCount = dataByteCount
      self.wireByteCount = wireByteCount
      self.fairByteCount = fairByteCount
      self.elapsed = elapsed
      self.waiting = waiting
      self.busy = busy
      self.receiverLimited = receiverLimited
      self.working = working
      self.encoding = encoding
      self.sending = sending
      self.linkOfOthers = linkOfOthers
    }
  }
}
