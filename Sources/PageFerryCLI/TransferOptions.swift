// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import PageFerry

/// What pages are encoded with.
struct CodecOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "auto (the default), none, lz4[:acceleration], zstd[:level], zstd-long[:level] or deflate[:level].",
      valueName: "codec"),
    transform: CodecPolicy.init(parsing:))
  var codec: CodecPolicy = .automatic
}

/// What encodes pages, and over how much they go.
struct TransferOptions: ParsableArguments {
  @OptionGroup var encoding: CodecOptions

  @Option(help: ArgumentHelp("TCP connections for data, 1 to 64.", valueName: "n"))
  var channels = 2

  @Option(
    help: ArgumentHelp(
      "Worker threads; at least one per channel. Default: one per CPU that may be used; of a still image with the "
        + "codec 'none' one per channel.", valueName: "n"))
  var workers: Int?

  func validate() throws {
    guard (1...64).contains(channels) else { throw ValidationError("--channels takes 1 to 64.") }
    guard (1...256).contains(workers ?? 1) else { throw ValidationError("--workers takes 1 to 256.") }
  }

  var codec: CodecPolicy { encoding.codec }

  /// Lanes of a guest that runs: every CPU helps.
  func laneCount(_ placement: PlacementArguments) -> Int {
    workers ?? min(256, max(channels, placement.workerCount))
  }
}

/// What the link may carry.
struct BandwidthOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Limit of all channels together, per second: 100MiB, 1Gbit.", valueName: "rate"))
  var bandwidth: Bandwidth?

  /// 0: no limit.
  var bytesPerSecond: UInt64 { bandwidth?.bytesPerSecond ?? 0 }
}

/// What is remembered of a guest that runs.
struct DeltaCacheOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What is remembered of hot pages for deltas: a size, a share of the guest's memory (1%), auto (as much as the "
        + "measured hot set needs) or off.", valueName: "size"))
  var deltaCache = CacheBudget.Size.automatic
}

/// How others are looked for.
struct DialOptions: ParsableArguments {
  @Option(help: ArgumentHelp("How long to look for who is to answer.", valueName: "seconds"))
  var connectTimeout = 10

  func validate() throws {
    guard (0...86400).contains(connectTimeout) else { throw ValidationError("--connect-timeout takes 0 to 86400 s.") }
  }

  var limit: Duration { .seconds(connectTimeout) }
}
