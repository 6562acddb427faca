// SPDX-License-Identifier: Apache-2.0
import Convergence
import PageFerry

/// What pages cost on the way: bytes and CPU time, by codec, from a trace or from assumptions.
struct PlanCosts {
  /// A page on the wire beyond its bytes: its part of frame headers and records.
  private static let overhead = 8.0
  /// Microseconds of CPU for a page besides its codec: reading and sending; receiving and storing.
  private static let sendSeconds = 0.8e-6
  private static let receiveSeconds = 2e-6
  /// For a page that is sent again as a delta, at the source, log included.
  private static let deltaSeconds = 1.5e-6

  /// The codec that the forecast is for.
  var codec: String
  var bulkBytes: Double
  var hotBytes: Double
  /// CPU time of encoding a page.
  var encodeSeconds: Double

  /// What is assumed of content that nobody has looked at.
  static func assumed(codec: String) -> (ratio: Double, encodeSeconds: Double) {
    switch codec.split(separator: ":").first ?? "" {
    case "none": (1, 0)
    case "lz4": (1.6, 4e-6)
    case "zstd-long": (2.3, 8e-6)
    default: (2, 6e-6)
    }
  }

  /// From what was sampled.
  /// - Parameters:
  ///   - policy: `auto` takes what is fastest on this link.
  ///   - cachedShare: of the pages that are written, the share that the delta cache holds.
  init(sampled: PageCosts, policy: CodecPolicy, cachedShare: Double, bytesPerSecond: Double, workers: Int) {
    let raw = PageCosts.Codec(codec: "none", bytesPerPage: 4096, nanosecondsPerPage: 0)
    let all = [raw] + sampled.codecs
    let found: PageCosts.Codec
    switch policy {
    case .automatic:
      func seconds(_ codec: PageCosts.Codec) -> Double {
        max(codec.bytesPerPage / bytesPerSecond, codec.nanosecondsPerPage / 1e9 / Double(workers))
      }
      found = all.min { seconds($0) < seconds($1) } ?? raw
    case .fixed(let choice):
      let name = "\(choice)"
      let family = name.hasPrefix("none") ? "none" : name.hasPrefix("lz4") ? "lz4" : "zstd"
      found = all.first { $0.codec == name } ?? all.first { $0.codec.hasPrefix(family) } ?? raw
    }
    codec = found.codec
    bulkBytes = found.bytesPerPage + Self.overhead
    encodeSeconds = found.nanosecondsPerPage / 1e9
    let whole = (found.hotBytesPerPage ?? found.bytesPerPage) + Self.overhead
    if let sampledShare = sampled.deltaShare {
      let share = sampledShare * cachedShare
      hotBytes = share * ((sampled.deltaBytesPerPage ?? 0) + Self.overhead) + (1 - share) * whole
    } else {
      hotBytes = whole
    }
  }

  /// From ratios, given or assumed.
  init(codec: String, ratio: Double?, hotRatio: Double?) {
    let assumed = Self.assumed(codec: codec)
    self.codec = codec
    bulkBytes = 4096 / (ratio ?? assumed.ratio) + Self.overhead
    hotBytes = 4096 / (hotRatio ?? ratio ?? assumed.ratio) + Self.overhead
    encodeSeconds = assumed.encodeSeconds
  }

  /// Applies to a forecast: the busier side's time, all its threads together.
  func apply(to input: inout ForecastInput, workers: Int) {
    input.bulkBytesPerPage = bulkBytes
    input.hotBytesPerPage = hotBytes
    let source = (Self.sendSeconds + encodeSeconds) / Double(workers)
    // Decoding takes about a third of encoding.
    let destination = (Self.receiveSeconds + encodeSeconds / 3) / Double(workers)
    input.bulkSecondsPerPage = max(source, destination)
    let isDelta = hotBytes < bulkBytes / 2
    input.hotSecondsPerPage = isDelta ? Self.deltaSeconds / Double(workers) : input.bulkSecondsPerPage
  }
}
