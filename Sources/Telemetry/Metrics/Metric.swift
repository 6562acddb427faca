// SPDX-License-Identifier: Apache-2.0

/// A metric family of PageFerry's: what `docs/METRICS.md` lists, and exporters say about it.
///
/// The raw value is the family's name as OpenMetrics has it: with its unit last, and without the suffix of a counter's
/// samples (`_total`).
public enum Metric: String, CaseIterable, Sendable {
  case build = "pageferry_build"
  case phase = "pageferry_phase"
  case verdict = "pageferry_verdict"
  case elapsed = "pageferry_elapsed_seconds"
  case setup = "pageferry_setup_seconds"
  case memory = "pageferry_memory_bytes"
  case memoryRemaining = "pageferry_memory_remaining_bytes"
  case workingSet = "pageferry_working_set_bytes"
  case pages = "pageferry_pages"
  case wire = "pageferry_wire_bytes"
  case wireRate = "pageferry_wire_rate_bytes_per_second"
  case linkRate = "pageferry_link_rate_bytes_per_second"
  case bandwidthLimit = "pageferry_bandwidth_limit_bytes_per_second"
  case dirtyRate = "pageferry_dirty_rate_bytes_per_second"
  case transferRate = "pageferry_transfer_rate_bytes_per_second"
  case hotReduction = "pageferry_hot_reduction_ratio"
  case throttle = "pageferry_throttle_ratio"
  case throttleMean = "pageferry_throttle_mean_ratio"
  case throttleHighest = "pageferry_throttle_highest_ratio"
  case throttleNeeded = "pageferry_throttle_needed_ratio"
  case bandwidthNeeded = "pageferry_bandwidth_needed_ratio"
  case downtime = "pageferry_downtime_seconds"
  case downtimeExpected = "pageferry_downtime_expected_seconds"
  case downtimeReachable = "pageferry_downtime_reachable_seconds"
  case downtimeLimit = "pageferry_downtime_limit_seconds"
  case timeToConverge = "pageferry_time_to_converge_seconds"
  case iterations = "pageferry_iterations"
  case syncs = "pageferry_dirty_syncs"
  case guestPaused = "pageferry_guest_paused"
  case held = "pageferry_held"
  case cache = "pageferry_cache_bytes"
  case cacheHits = "pageferry_cache_hits"
  case cacheMisses = "pageferry_cache_misses"
  case cacheOverflows = "pageferry_cache_overflows"
  case delta = "pageferry_delta_bytes"
  case codecLanes = "pageferry_codec_lanes"
  case codecInput = "pageferry_codec_input_bytes"
  case codecOutput = "pageferry_codec_output_bytes"
  case laneTime = "pageferry_lane_time_ratio"
  case laneBlocked = "pageferry_lane_blocked_ratio"
  case relayMode = "pageferry_relay_mode"
  case relayConnections = "pageferry_relay_connections"
  case relayStream = "pageferry_relay_stream_bytes"
  case relayStreamRate = "pageferry_relay_stream_rate_bytes_per_second"
  case relayPassed = "pageferry_relay_passed_bytes"
  case relayPages = "pageferry_relay_pages"
  case relaySuperseded = "pageferry_relay_superseded_pages"
  case relayWindow = "pageferry_relay_window_bytes"
  case relayWindowUsed = "pageferry_relay_window_used_bytes"
  case relayWindowHighest = "pageferry_relay_window_highest_bytes"
  case relayHeld = "pageferry_relay_held_bytes"
  case relayChannel = "pageferry_relay_channel_bytes"

  public enum Kind: String, Sendable {
    case gauge, counter
    /// A gauge for each state, 1 for the one that holds; the label is named like the family.
    case stateset
    /// A gauge that is 1; what it says is in its labels.
    case info
    /// Count and sum: of recorders and timers that others register.
    case summary
  }

  public var kind: Kind {
    switch self {
    case .build: .info
    case .phase, .verdict, .relayMode: .stateset
    case .pages, .wire, .iterations, .syncs, .cacheHits, .cacheMisses, .cacheOverflows, .delta, .codecInput,
      .codecOutput, .relayStream, .relayPassed, .relayPages, .relaySuperseded, .relayChannel:
      .counter
    default: .gauge
    }
  }

  /// The unit, which the name ends with; nil where there is none.
  public var unit: String? {
    ["bytes_per_second", "bytes", "seconds", "ratio"].first { rawValue.hasSuffix("_\($0)") }
  }

  /// The name of its samples, and the label of its counters and gauges in swift-metrics.
  public var sampleName: String {
    switch kind {
    case .counter: rawValue + "_total"
    case .info: rawValue + "_info"
    case .gauge, .stateset, .summary: rawValue
    }
  }

  /// Labels beside `session` and `peer`.
  public var labels: [String] {
    switch self {
    case .build: ["version"]
    case .phase, .verdict, .relayMode: [rawValue]
    case .pages: ["kind"]
    case .codecLanes, .codecInput, .codecOutput: ["codec"]
    case .laneTime: ["activity"]
    case .laneBlocked: ["lane"]
    case .relayChannel: ["channel"]
    default: []
    }
  }

  /// One line.
  public var help: String {
    switch self {
    case .build: "The program that exports this."
    case .phase: "Where the migration stands."
    case .verdict: "Whether it will end."
    case .elapsed: "Time since the migration began."
    case .setup: "Time until pages began to flow."
    case .memory: "Memory of the guest."
    case .memoryRemaining: "Memory that is still to be sent, as far as the last sync tells."
    case .workingSet: "Memory that was written in the last seconds."
    case .pages: "Pages by what became of them."
    case .wire: "Bytes that the sockets of all channels took."
    case .wireRate: "Bytes on all channels, over the last seconds."
    case .linkRate: "What the link carries while it is busy, as the destination acknowledged it."
    case .bandwidthLimit: "What the operator allows; absent without a limit."
    case .dirtyRate: "Memory that the guest writes, as it is throttled now."
    case .transferRate: "How fast memory that is sent again is dealt with."
    case .hotReduction: "Bytes of memory per byte on the wire, of pages that are sent again."
    case .throttle: "Share of its time that the guest may not run now."
    case .throttleMean: "The same, over the whole migration."
    case .throttleHighest: "The most that it was."
    case .throttleNeeded: "The throttle that would make it converge; absent where it does."
    case .bandwidthNeeded: "How many times the bandwidth would make it converge; absent where it does."
    case .downtime: "How long the guest stood still; present once it was handed over."
    case .downtimeExpected: "How long it would stand still if it were paused at the last sync."
    case .downtimeReachable: "The downtime at which iterations stop getting better."
    case .downtimeLimit: "The downtime that is allowed now."
    case .timeToConverge: "Time until the guest can be paused; absent where it cannot be said."
    case .iterations: "Iterations that were begun."
    case .syncs: "Times that the dirty log was asked for all of memory."
    case .guestPaused: "1 while the guest stands still by order of the operator."
    case .held: "1 while the operator keeps the guest from being handed over."
    case .cache: "Size of the delta cache."
    case .cacheHits: "Pages that were found in the delta cache."
    case .cacheMisses: "Pages that were looked for in vain."
    case .cacheOverflows: "Pages whose delta was too long, and that were sent whole."
    case .delta: "Bytes of deltas on the wire."
    case .codecLanes: "Lanes that use the codec now."
    case .codecInput: "Bytes of pages that the codec encoded."
    case .codecOutput: "Bytes that it made of them."
    case .laneTime: "Share of the lanes' time, all lanes together."
    case .laneBlocked: "Share of its time that the lane waited for the link."
    case .relayMode: "How a proxy carries the hypervisor's stream."
    case .relayConnections: "Connections of the hypervisor that have not ended."
    case .relayStream: "Bytes of the hypervisor's stream: taken at the source, given at the destination."
    case .relayStreamRate: "The same in a second, over the last seconds."
    case .relayPassed: "Bytes of the hypervisor's stream that were passed on as they are."
    case .relayPages: "Pages in the source hypervisor's stream."
    case .relaySuperseded: "Pages that were overtaken by a newer version before they were sent."
    case .relayWindow: "How much of the stream may be under way."
    case .relayWindowUsed: "How much of the stream is under way."
    case .relayWindowHighest: "The most that was."
    case .relayHeld: "Pages that a proxy holds: they wait, or are not known to have arrived."
    case .relayChannel: "Bytes on the data channel."
    }
  }

  /// By the name of its samples.
  static let bySampleName = Dictionary(uniqueKeysWithValues: allCases.map { ($0.sampleName, $0) })
}
