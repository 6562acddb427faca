// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageModel
import Synchronization
import Transport
import Wire

@testable import Lanes
@testable import Migration
@testable import QEMUBridge

/// Data channels into ``ArrivingMemory``, a frame at a time, on the driver's thread.
final class ArrivalChannels {
  /// What came of a frame.
  struct Outcome {
    var marks: [(lane: Int, iteration: UInt32)] = []
    /// The session has ended.
    var isOver = false
    var problem: String?
  }

  private final class Channel {
    let sockets: DriverSockets
    let receiver: ChannelReceiver
    let counters = ChannelCounters()
    /// Frames that it may still take.
    let turns = Turns()

    init(_ sockets: DriverSockets, _ make: (ChannelCounters, Turns) throws(LaneError) -> ChannelReceiver)
      throws(LaneError)
    {
      self.sockets = sockets
      receiver = try make(counters, turns)
    }
  }

  private final class Turns {
    var left = 0
    var marks: [(lane: Int, iteration: UInt32)] = []

    func next() -> Bool {
      defer { left -= 1 }
      return left > 0
    }
  }

  private let memory: ArrivingMemory
  private let hello: ControlMessage.Hello
  private let model: ArrivalModel
  private let owners: LaneOwners
  private var channels: [Channel?]
  /// The last iteration that each lane has ended.
  private var marked: [UInt32]

  var count: Int { channels.count }

  init(_ memory: ArrivingMemory, _ hello: ControlMessage.Hello, _ model: ArrivalModel) {
    (self.memory, self.hello, self.model) = (memory, hello, model)
    owners = LaneOwners(hello.session)
    channels = Array(repeating: nil, count: min(2, hello.channelCount))
    marked = Array(repeating: 0, count: hello.laneCount)
  }

  private func channel(_ number: Int) -> Channel? {
    if let known = channels[number] { return known }
    guard let sockets = DriverSockets() else { return nil }
    channels[number] = try? Channel(sockets) { (counters, turns) throws(LaneError) in
      try ChannelReceiver(
        number: number + 1, connection: sockets.near, memory: memory, session: hello.session, owners: owners,
        counters: counters, decoderCount: 0, node: nil,
        calls: .init(
          isStopped: { !turns.next() }, isClosed: { false },
          onMark: { lane, iteration, _ in turns.marks.append((lane, iteration)) }, isOpen: { _ in false },
          awaitLane: { _ in false }))
    }
    return channels[number]
  }

  /// - Parameters:
  ///   - number: of the channel, from 0.
  ///   - isRepaired: its checksums and what it counts are made right before.
  func take(_ raw: [UInt8], number: Int, isRepaired: Bool) -> Outcome {
    guard let channel = channel(number) else { return Outcome(isOver: true) }
    let before = channel.counters.appliedFrames.load(ordering: .relaxed)
    let lane = RelayScript.lane(raw)
    let due = marked.indices.contains(lane) ? marked[lane] + 1 : 1
    let frame = isRepaired ? RelayScript.repaired(raw, sequence: before, iteration: due) : raw
    let reading = Reading(frame, memory.blocks, hello.features)
    do throws(TransportError) { try channel.sockets.far.send(frame) } catch { return Outcome(isOver: true) }
    // It is waited for, unless nothing can come.
    if !reading.isExact { channel.sockets.far.finishSending() }
    channel.turns.left = 1
    var failure: LaneError?
    do throws(LaneError) { try channel.receiver.run(firstDecoder: 1) { _ in .anywhere } } catch { failure = error }
    var outcome = Outcome(marks: channel.turns.marks, isOver: failure != nil || !reading.isExact)
    channel.turns.marks = []
    for mark in outcome.marks { marked[mark.lane] = mark.iteration }
    let isApplied = channel.counters.appliedFrames.load(ordering: .relaxed) > before
    if isApplied, let body = reading.body {
      model.apply(body, data: reading.isRaw ? frame[(64 + body.data.lowerBound)..<(64 + body.data.upperBound)] : nil)
    }
    outcome.problem = problem(reading, before, number, due, isApplied, failure) ?? model.problem
    return outcome
  }

  private func problem(
    _ reading: Reading, _ sequence: UInt64, _ number: Int, _ due: UInt32, _ isApplied: Bool, _ failure: LaneError?
  ) -> String? {
    if let failure, let problem = DriverText.problem(in: failure.description) { return problem }
    let isInTurn =
      reading.header.map {
        $0.sequence == sequence && $0.iteration == due && marked.indices.contains(Int($0.lane))
          && Int($0.lane) % hello.channelCount == number
      } ?? false
    guard isApplied != (failure != nil) || !reading.isExact else { return "a frame is neither applied nor refused" }
    if isApplied, reading.body == nil || !isInTurn { return "a bad frame is applied" }
    if !isApplied, reading.isRaw, isInTurn { return "a good frame is refused: \(failure.map { "\($0)" } ?? "")" }
    return nil
  }

  /// What a frame is by itself.
  private struct Reading {
    var header: FrameHeader?
    var body: FrameBody?
    /// It is just as long as it says.
    var isExact = false
    /// Nothing in it is encoded, and it has no deltas.
    var isRaw = false

    init(_ frame: [UInt8], _ blocks: BlockTable, _ features: SessionFeatures) {
      let bytes = unsafe frame.span.bytes
      guard let header = try? FrameHeader(decoding: bytes) else { return }
      self.header = header
      isExact = frame.count == FrameHeader.byteCount + header.bodyByteCount
      guard frame.count >= FrameHeader.byteCount + header.bodyByteCount else { return }
      var body = FrameBody()
      do throws(WireError) {
        try body.decode(
          bytes.extracting(FrameHeader.byteCount..<FrameHeader.byteCount + header.summedByteCount), header: header,
          blocks: blocks, features: features)
      } catch { return }
      self.body = body
      isRaw = header.flags.isEmpty && body.deltaPageCount == 0
    }
  }
}
