// SPDX-License-Identifier: Apache-2.0
import Lanes
import PageCodecs

/// What a migration may have to wait for.
public enum LimitingResource: String, Sendable, Codable, CaseIterable {
  case link
  case sourceCPU
  case destinationCPU
  /// First touch of the destination's memory, and copying pages there.
  case population
  case roundTrips
  /// Nothing was busy for most of the time.
  case unclear

  /// For a table.
  public var shortName: String {
    switch self {
    case .link: "link"
    case .sourceCPU: "source CPU"
    case .destinationCPU: "dest. CPU"
    case .population: "dest. memory"
    case .roundTrips: "round trips"
    case .unclear: "unclear"
    }
  }
}

/// How busy everything was during one migration: shares from 0 to 1.
public struct Load: Sendable, Equatable, Codable {
  /// Bytes on the wire, of what plain TCP carried in the same time.
  public var link: Double
  /// CPU time, of what the CPUs had, or of what the threads at work could use, whichever says more.
  public var source: Double
  public var destination: Double
  /// Of the destination's receiving time, storing pages.
  public var store: Double
  /// Round trips, of the whole time.
  public var roundTrips: Double

  public init(link: Double, source: Double, destination: Double, store: Double, roundTrips: Double) {
    self.link = link
    self.source = source
    self.destination = destination
    self.store = store
    self.roundTrips = roundTrips
  }

  /// Below this, nothing can be called the limit.
  static let least = 0.6
  /// From this on, a link is as full as a real protocol gets it.
  static let full = 0.85

  /// What the migration waited for, by these figures alone.
  public var limit: LimitingResource {
    if roundTrips >= 0.5 { return .roundTrips }
    if link >= Self.full { return .link }
    let most = max(link, source, destination)
    guard most >= Self.least else { return .unclear }
    if most == link { return .link }
    // A tie is the destination's: the source would otherwise wait for it.
    if destination >= source { return store >= 0.5 ? .population : .destinationCPU }
    return .sourceCPU
  }
}

extension Load {
  /// What is known about the two hosts and the way between them.
  public struct Hosts: Sendable {
    /// Bytes a second of plain TCP with a number of streams.
    public var link: [LinkFigures]
    /// Seconds.
    public var roundTrip: Double
    public var sourceCPUs: Int
    public var destinationCPUs: Int
    /// Both are one host: they share its CPUs.
    public var areSame: Bool

    public init(link: [LinkFigures], roundTrip: Double, sourceCPUs: Int, destinationCPUs: Int, areSame: Bool) {
      self.link = link
      self.roundTrip = roundTrip
      self.sourceCPUs = sourceCPUs
      self.destinationCPUs = destinationCPUs
      self.areSame = areSame
    }

    /// What plain TCP does with as many streams; the best of what was measured with fewer.
    func linkRate(channels: Int) -> Double {
      let rates = link.filter { $0.streams <= channels }.map { $0.bytesPerSecond }
      return rates.max() ?? link.map { $0.bytesPerSecond }.min() ?? 0
    }
  }

  /// The loads of one migration.
  public init(_ run: CellRun, cell: Cell, hosts: Hosts) {
    let flow = max(run.flowSeconds, 1e-6)
    let rate = hosts.linkRate(channels: cell.channels)
    link = rate > 0 ? min(1, Double(run.wireBytes) / flow / rate) : 0
    // Threads at the source: lanes, and one more per channel unless lanes send by themselves.
    let sending = FrameSending(
      laneCount: run.lanes, channelCount: cell.channels, cpuCount: hosts.sourceCPUs, encodes: cell.codec != "none",
      runs: cell.runs)
    let threads = run.lanes + (sending.hasSenders ? cell.channels : 0)
    let lanes = (run.readSeconds + run.encodeSeconds) / flow / Double(max(1, run.lanes))
    let sourceUse = run.sourceCPUSeconds / flow
    let destinationUse = run.destination.cpuSeconds / flow
    var source = max(lanes, sourceUse / Double(min(threads, hosts.sourceCPUs)))
    // Threads at the destination: one per channel, and decoders where there is something that they could decode.
    let isHelped = cell.codec != "none" && (try? CodecChoice(parsing: cell.codec))?.hasHistory != true
    let decoders =
      isHelped
      ? ReceivingPipeline.decoderCount(workerCount: hosts.destinationCPUs, channelCount: cell.channels) : 0
    var destination = destinationUse / Double(min(cell.channels * (1 + decoders), hosts.destinationCPUs))
    if hosts.areSame {
      // CPUs are shared: when they are used up, whoever takes more is the limit.
      let both = (sourceUse + destinationUse) / Double(hosts.sourceCPUs)
      if sourceUse >= destinationUse { source = max(source, both) } else { destination = max(destination, both) }
    }
    self.source = min(1, source)
    self.destination = min(1, destination)
    let receiving = run.destination.decodeSeconds + run.destination.storeSeconds
    store = receiving > 0 ? run.destination.storeSeconds / receiving : 0
    // Connecting and the first words of each channel, each iteration's acknowledgement, and the hand-over.
    let trips = Double(2 + 2 * cell.channels + run.iterations + 3)
    roundTrips = min(1, trips * hosts.roundTrip / max(run.seconds, 1e-6))
  }
}
