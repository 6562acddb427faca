// SPDX-License-Identifier: Apache-2.0

/// Sums over the frames that a decision of ``AdaptiveChooser`` rests on.
struct FrameWindow {
  var frameCount = 0
  var data = 0.0
  var wire = 0.0
  /// Of the frames that were encoded with the rung in use: not all of them, where it is mixed with another.
  var own = (data: 0.0, wire: 0.0, encoding: 0.0)
  var fair = 0.0
  var elapsed = 0.0
  var waiting = 0.0
  var busy = 0.0
  var receiverLimited = 0.0
  var working = 0.0
  var encoding = 0.0
  var sending = 0.0
  /// What the link took for a byte, as a lane said that waited for it.
  var linkOfOthers: Double?

  /// Whether it may be the destination that the lane waits for, rather than the link.
  var isDoubtful: Bool { receiverLimited > 0.3 * busy }

  mutating func add(_ frame: AdaptiveChooser.Frame, isOwn: Bool) {
    frameCount += 1
    if isOwn {
      own.data += Double(frame.dataByteCount)
      own.wire += Double(frame.wireByteCount)
      own.encoding += Double(frame.encoding)
    }
    data += Double(frame.dataByteCount)
    wire += Double(frame.wireByteCount)
    fair += Double(frame.fairByteCount)
    elapsed += Double(frame.elapsed)
    waiting += Double(frame.waiting)
    busy += Double(frame.busy)
    receiverLimited += Double(frame.receiverLimited)
    working += Double(frame.working)
    encoding += Double(frame.encoding)
    sending += Double(frame.sending)
    linkOfOthers = frame.linkOfOthers
  }
}
