// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
public import Lanes
public import Logging
public import PageCodecs
public import Transport

extension SourceSession {
  /// What an operator decides.
  public struct Configuration: Sendable {
    public var endpoint: Endpoint
    public var socketOptions: SocketOptions
    /// How long to look for the receiver.
    public var connectTimeout: Duration
    public var channelCount: Int
    /// Worker threads; at least one per channel.
    public var laneCount: Int
    /// Memory for what codecs with a history look back over, in bytes, over all lanes and on either side.
    public var historyByteCount: UInt64
    /// What may be changed later.
    public var settings: MigrationSettings
    /// How long a guest may stay paused before the migration is given up and it runs on here.
    public var switchoverLimit: Duration
    /// Compare a digest of every block before the commit. For a guest that runs this reads all memory while it is
    /// paused: a test, not for service. Nil: only for memory that does not change, where it costs no time.
    public var verify: Bool?
    /// Where worker threads run.
    public var placement: PlacementOptions
    /// Whether raw pages of memory that does not change and is mapped here go without the kernel's copy.
    public var zeroCopy: ZeroCopyOptions
    /// Program and version, for the peer's log.
    public var software: String
    /// Told each iteration of a guest that runs, in one line, and what needs advice.
    public var logger = Logger(label: "pageferry.source") { _ in SwiftLogNoOpLogHandler() }

    /// Of ``settings``: what it begins with.
    var codec: CodecPolicy { settings.codec }
    var bandwidthLimit: UInt64 { settings.bandwidthLimit }
    var deltaCache: CacheBudget.Size { settings.deltaCache }

    /// - Parameters: those that are not stored as they are begin ``settings``.
    public init(
      endpoint: Endpoint, socketOptions: SocketOptions = .init(), connectTimeout: Duration = .seconds(10),
      channelCount: Int = 2, laneCount: Int = 2, codec: CodecPolicy = .none,
      historyByteCount: UInt64 = 512 << 20, bandwidthLimit: UInt64 = 0,
      deltaCache: CacheBudget.Size = .percent(1), downtimeLimit: Duration = .milliseconds(300),
      switchoverLimit: Duration = .seconds(10), verify: Bool? = nil, placement: PlacementOptions = .init(),
      zeroCopy: ZeroCopyOptions = .init(.automatic), software: String
    ) {
      self.endpoint = endpoint
      self.socketOptions = socketOptions
      self.connectTimeout = connectTimeout
      self.channelCount = channelCount
      self.laneCount = max(laneCount, channelCount)
      self.historyByteCount = historyByteCount
      settings = MigrationSettings(
        bandwidthLimit: bandwidthLimit, downtimeLimit: downtimeLimit, codec: codec, workers: self.laneCount,
        channels: channelCount, deltaCache: deltaCache)
      self.switchoverLimit = switchoverLimit
      self.verify = verify
      self.placement = placement
      self.zeroCopy = zeroCopy
      self.software = software
    }
  }
}
