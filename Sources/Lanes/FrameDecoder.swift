// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageCodecs
import Synchronization
import Wire

/// The codecs of one thread that decodes frames of a channel.
///
/// Made by another thread, and then that thread's alone.
final class FrameDecoder: @unchecked Sendable {
  private let channel: Int
  private let session: ReceivingPipeline.Session
  private let counters: ChannelCounters
  /// By tag; a session has at most a handful. One serves all lanes of the channel, or one lane if it has a history.
  private var codecs: [(tag: UInt8, lane: UInt16?, codec: any FrameCodec)] = []
  /// The tags of codecs with a history, which are made when a lane first uses one.
  private let historyTags: [UInt8]

  init(channel: Int, session: ReceivingPipeline.Session, counters: ChannelCounters) throws(LaneError) {
    self.channel = channel
    self.session = session
    self.counters = counters
    var codecs: [(tag: UInt8, lane: UInt16?, codec: any FrameCodec)] = []
    var historyTags: [UInt8] = []
    for tag in session.codecs where tag != .none {
      guard let type = CodecRegistry.codec(tag: tag) else {
        throw .codecNotAgreed(channel: channel, tag: tag.rawValue)
      }
      if type is any HistoryCodec.Type {
        historyTags.append(tag.rawValue)
      } else {
        do throws(CodecError) {
          codecs.append((tag.rawValue, nil, try type.init(level: type.identity.defaultLevel)))
        } catch { throw .codec(error) }
      }
    }
    self.codecs = codecs
    self.historyTags = historyTags
  }

  /// Whether any thread may decode the frame, before or after others: nothing in it is encoded, or by a codec that was
  /// agreed on and has no history.
  func isIndependent(_ header: FrameHeader) -> Bool {
    guard isEncoded(header) else { return true }
    return !header.flags.contains(.historyBegins) && codecs.contains { $0.tag == header.codec && $0.lane == nil }
  }

  /// Decodes a frame on the channel's thread, in its turn.
  func decode(_ slot: FrameSlot) throws(LaneError) {
    guard isEncoded(slot.header) else { return slot.finish(nil) }
    let started = HostClock.now()
    let codec = try codec(for: slot.header)
    do throws(CodecError) { try slot.decode(with: codec) } catch { throw .codec(error) }
    counters.codecNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    slot.finish(nil)
  }

  /// Decodes a frame that is ``isIndependent(_:)``, on any thread; what goes wrong is told in its turn.
  func decodeAhead(_ slot: FrameSlot) {
    do throws(LaneError) { try decode(slot) } catch {
      guard case .codec(let failure) = error else { preconditionFailure("the codec was looked for before") }
      slot.finish(failure)
    }
  }

  /// Gives up what is kept of a lane: it feeds another channel now, where its history begins anew.
  func forget(lane: UInt16) { codecs.removeAll { $0.lane == lane } }

  private func isEncoded(_ header: FrameHeader) -> Bool {
    !header.flags.isDisjoint(with: [.dataEncoded, .deltaEncoded])
  }

  private func codec(for header: FrameHeader) throws(LaneError) -> any FrameCodec {
    let hasHistory = historyTags.contains(header.codec)
    let lane = hasHistory ? header.lane : nil
    let known = codecs.first { $0.tag == header.codec && $0.lane == lane }?.codec
    guard header.flags.contains(.historyBegins) else {
      // A lane's first frame with a history says that it begins.
      guard let known else { throw .codecNotAgreed(channel: channel, tag: header.codec) }
      return known
    }
    if let known = known as? any HistoryCodec {
      known.restart()
      return known
    }
    guard hasHistory, let type = CodecRegistry.codec(tag: CodecTag(rawValue: header.codec)) as? any HistoryCodec.Type
    else { throw .codecNotAgreed(channel: channel, tag: header.codec) }
    do throws(CodecError) {
      // At most one per lane that feeds this channel now: their number and size were agreed on.
      let codec = try type.init(level: type.identity.defaultLevel, historyByteCount: session.historyByteCount)
      codecs.append((header.codec, lane, codec))
      return codec
    } catch { throw .codec(error) }
  }
}
