// SPDX-License-Identifier: Apache-2.0
public import PageModel

/// A message of the control channel, or the first one of a data channel.
///
/// ```
/// source                          destination
///   hello ────────────────────────▶  checks versions, blocks, codec
///   ◀──────────────── accept | reject
///   attach ×channels ─────────────▶  (each on its own connection)
///   ◀──────────────── attached | reject
///   ◀──────────────── reserved       memory is mapped
///   iterationBegin ───────────────▶
///       … frames on the data channels …
///   ◀──────────────── ack            after 100 ms of nothing else, and at each end of iteration
///   iterationEnd ─────────────────▶
///   final ────────────────────────▶  guest state, digest of every block
///   ◀──────────────── ready          digests agree, the guest state is loaded
///   commit ───────────────────────▶  from here on the guest is the destination's
///   ◀──────────────── resumed
/// ```
/// `cancel` and `error` may come from either side at any time before `commit`.
public enum ControlMessage: Equatable, Sendable {
  case hello(Hello)
  case accept(Accept)
  case reject(Refusal)
  case attach(Attach)
  case attached
  case reserved
  case iterationBegin(IterationBegin)
  case iterationEnd(IterationEnd)
  case ack(Ack)
  case final(Final)
  case ready(Ready)
  case commit
  case resumed(Resumed)
  case cancel(reason: String)
  case error(Refusal)
  /// The source is alive: sent every second when it has nothing else to say. The destination's sign of life is `ack`.
  case heartbeat
  /// Of a relayed stream: bytes that are no pages, in either direction.
  case relay(Relay)
  /// So many bytes of `relay` messages have been passed on, since the beginning.
  case relayTaken(byteCount: UInt64)
  /// The stream has ended that this side reads from; what is left to pass on comes before this.
  case relayEnd(afterIteration: UInt32)

  /// The source's first words.
  public struct Hello: Equatable, Sendable {
    /// Versions that the source speaks.
    public var versions: ClosedRange<UInt16>
    /// Chosen by the source at random; names the session in both logs.
    public var session: SessionIdentity
    public var channelCount: Int
    public var laneCount: Int
    public var pageByteCount: UInt32
    /// Optional features; a bit that the receiver does not know makes it refuse.
    public var features: SessionFeatures
    /// Numbers of the codecs that frames may use.
    public var codecs: [UInt8]
    /// How far back a codec with a history may look, per lane, as a base-2 logarithm of bytes; 0 without such a codec.
    public var historyLog: UInt8
    /// Program and version, for the peer's log.
    public var software: String
    public var blocks: [RAMBlock]

    /// Bytes of history that both sides keep, over all lanes.
    public var historyByteCount: Int { historyLog == 0 ? 0 : laneCount << Int(historyLog) }

    public init(
      versions: ClosedRange<UInt16> = WireLimits.versions, session: SessionIdentity, channelCount: Int, laneCount: Int,
      pageByteCount: UInt32 = 4096, features: SessionFeatures = [], codecs: [UInt8], historyLog: UInt8 = 0,
      software: String,
      blocks: [RAMBlock]
    ) {
      self.versions = versions
      self.session = session
      self.channelCount = channelCount
      self.laneCount = laneCount
      self.pageByteCount = pageByteCount
      self.features = features
      self.codecs = codecs
      self.historyLog = historyLog
      self.software = software
      self.blocks = blocks
    }
  }

  /// The destination agrees; data channels prove that they belong by the token.
  public struct Accept: Equatable, Sendable {
    public var version: UInt16
    public var token: SessionIdentity
    public var software: String

    public init(version: UInt16, token: SessionIdentity, software: String) {
      self.version = version
      self.token = token
      self.software = software
    }
  }

  /// Why a side will not go on: a code for programs and a sentence for people.
  public struct Refusal: Equatable, Sendable {
    /// A number of `FailureCode` (the migration floor owns the list, and so does `docs/WIRE.md`).
    public var code: UInt16
    public var reason: String

    public init(code: UInt16, reason: String) {
      self.code = code
      self.reason = reason
    }
  }

  /// A data channel joins a session.
  public struct Attach: Equatable, Sendable {
    public var version: UInt16
    public var token: SessionIdentity
    /// 1 is the first data channel; 0 is control and never attaches.
    public var channel: UInt16

    public init(version: UInt16, token: SessionIdentity, channel: UInt16) {
      self.version = version
      self.token = token
      self.channel = channel
    }
  }

  public struct IterationBegin: Equatable, Sendable {
    public var iteration: UInt32
    /// Pages that the dirty log returned for it.
    public var pageCount: UInt64

    public init(iteration: UInt32, pageCount: UInt64) {
      self.iteration = iteration
      self.pageCount = pageCount
    }
  }

  /// What has been sent from the beginning to the end of this iteration; the destination compares it with what it
  /// applied.
  public struct IterationEnd: Equatable, Sendable {
    public var iteration: UInt32
    public var zeroPageCount: UInt64
    public var dataPageCount: UInt64
    public var deltaPageCount: UInt64

    public init(iteration: UInt32, zeroPageCount: UInt64, dataPageCount: UInt64, deltaPageCount: UInt64) {
      self.iteration = iteration
      self.zeroPageCount = zeroPageCount
      self.dataPageCount = dataPageCount
      self.deltaPageCount = deltaPageCount
    }
  }

  /// How far the destination has come.
  public struct Ack: Equatable, Sendable {
    /// The last iteration whose every frame, on every channel, is applied.
    public var completedIteration: UInt32
    /// Frames applied per data channel, the first channel first.
    public var appliedFrameCounts: [UInt64]
    /// Bytes that have arrived on all data channels.
    public var receivedByteCount: UInt64

    public init(completedIteration: UInt32, appliedFrameCounts: [UInt64], receivedByteCount: UInt64) {
      self.completedIteration = completedIteration
      self.appliedFrameCounts = appliedFrameCounts
      self.receivedByteCount = receivedByteCount
    }
  }

  /// Everything that the destination needs before it can run the guest.
  public struct Final: Equatable, Sendable {
    /// Guest state (registers, devices); empty for a still image.
    public var guestState: [UInt8]
    /// One digest per block, in the block table's order, as two words (low, high); empty if not verifying.
    public var digests: [DigestWords]

    public init(guestState: [UInt8], digests: [DigestWords]) {
      self.guestState = guestState
      self.digests = digests
    }
  }

  /// The destination holds everything, and could run the guest. Durations only: clocks of two hosts do not agree.
  public struct Ready: Equatable, Sendable {
    /// Nanoseconds of comparing digests, and of taking over the guest state.
    public var verifyNanoseconds: UInt64
    public var loadNanoseconds: UInt64

    public init(verifyNanoseconds: UInt64, loadNanoseconds: UInt64) {
      self.verifyNanoseconds = verifyNanoseconds
      self.loadNanoseconds = loadNanoseconds
    }
  }

  /// The guest runs at the destination.
  public struct Resumed: Equatable, Sendable {
    /// Nanoseconds from the arrival of the commit until the guest ran.
    public var resumeNanoseconds: UInt64

    public init(resumeNanoseconds: UInt64) { self.resumeNanoseconds = resumeNanoseconds }
  }

  /// Bytes of a hypervisor's stream, to be passed on as they are.
  public struct Relay: Equatable, Sendable {
    /// From the source: once every page of this iteration and those before it is with the hypervisor. Otherwise 0.
    public var afterIteration: UInt32
    /// At most ``WireLimits/relayByteCountMax``.
    public var bytes: [UInt8]

    public init(afterIteration: UInt32, bytes: [UInt8]) {
      self.afterIteration = afterIteration
      self.bytes = bytes
    }
  }

  /// A block digest as the wire carries it.
  public struct DigestWords: Equatable, Sendable {
    public var low: UInt64
    public var high: UInt64

    public init(low: UInt64, high: UInt64) {
      self.low = low
      self.high = high
    }
  }
}

/// What a source may make use of, as bits of `hello`.
public struct SessionFeatures: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Frames may carry deltas against what was sent last.
  public static let deltas = SessionFeatures(rawValue: 1)
  /// The guest runs, and its state comes with `final`: the destination must be able to run it.
  public static let runningGuest = SessionFeatures(rawValue: 2)

  /// Raw pages may travel without a checksum of their own.
  public static let unsummedData = SessionFeatures(rawValue: 4)
  /// Memory does not change while it is sent, each page is sent once, and ``ControlMessage/Final`` will bring the
  /// digest of every block.
  public static let digests = SessionFeatures(rawValue: 8)

  /// Lanes may move to other channels, and channels be added, while frames flow. Only of a guest that runs.
  public static let lanesMove = SessionFeatures(rawValue: 16)
  /// Two hypervisors migrate the guest, and this carries their stream: pages on the data channels, the rest as `relay`.
  /// There are no iterations but lanes' marks, and no `final`: the hypervisors hand the guest over. Without RAM blocks the
  /// whole stream is `relay`, and there are no data channels.
  public static let relay = SessionFeatures(rawValue: 32)

  static let known: SessionFeatures = [.deltas, .runningGuest, .unsummedData, .digests, .lanesMove, .relay]
}

/// 128 random bits: a session's name, or the token that a data channel must show.
public struct SessionIdentity: Equatable, Hashable, Sendable, CustomStringConvertible {
  public let high: UInt64
  public let low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// A new one from the system's generator.
  public static func random() -> SessionIdentity {
    var generator = SystemRandomNumberGenerator()
    return SessionIdentity(high: generator.next(), low: generator.next())
  }

  /// The first eight hexadecimal digits: enough to find a session in two logs.
  public var description: String {
    let digits = String(high >> 32, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
