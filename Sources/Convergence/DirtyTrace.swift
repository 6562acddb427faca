// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageModel

/// How a guest dirtied its memory, recorded: a header, and samples in the order of time.
///
/// As a file it is lines of JSON (docs/OPERATIONS.md has the format): the header first, then a sample each. A trace may
/// come from anywhere: ``init(_:)`` and ``append(_:)`` check everything that later arithmetic relies on.
public struct DirtyTrace: Sendable, Equatable {
  /// The first line.
  public struct Header: Sendable, Codable, Equatable {
    /// Says what the file is: ``DirtyTrace/format``.
    public var format: String
    /// Changes when a field changes its meaning; fields may be added without that.
    public var version: Int
    public var memoryBytes: UInt64
    public var pageSize: Int
    /// When recording began, in seconds since 1970; nil if that is not known.
    public var recordedAt: Double?
    /// Program and version.
    public var tool: String?

    public init(memoryBytes: UInt64, recordedAt: Double? = nil, tool: String? = nil) {
      format = DirtyTrace.format
      version = DirtyTrace.version
      self.memoryBytes = memoryBytes
      pageSize = PageGeometry.pageByteCount
      self.recordedAt = recordedAt
      self.tool = tool
    }
  }

  /// Distinct pages that were written in a window, scaled up to the whole guest.
  public struct Window: Sendable, Codable, Equatable {
    public var seconds: Double
    public var pages: Double
    /// Spans of 256 KiB with a written page; nil if that was not counted.
    public var spans: Double?

    public init(seconds: Double, pages: Double, spans: Double? = nil) {
      self.seconds = seconds
      self.pages = pages
      self.spans = spans
    }
  }

  /// A line after the first.
  public struct Sample: Sendable, Codable, Equatable {
    /// Seconds since recording began.
    public var t: Double
    /// Windows that ended then.
    public var windows: [Window]
    /// Distinct pages since recording began; nil where that is not known (while the guest moves).
    public var workingSetPages: Double?
    /// Where in memory they are, all but the outermost fiftieth: shares of memory, the lower one first.
    public var place: [Double]?
    /// What pages hold; in a sample or two.
    public var content: PageCosts?

    public init(
      t: Double, windows: [Window], workingSetPages: Double? = nil, place: [Double]? = nil, content: PageCosts? = nil
    ) {
      self.t = t
      self.place = place
      self.windows = windows
      self.workingSetPages = workingSetPages
      self.content = content
    }
  }

  public static let format = "pageferry-dirty-trace"
  public static let version = 1
  /// Most samples, and most windows in one.
  public static let sampleMax = 1_000_000
  public static let windowMax = 32

  public let header: Header
  public private(set) var samples: [Sample] = []

  /// Begins a trace.
  public init(_ header: Header) throws(DirtyTraceError) {
    guard header.format == Self.format else { throw .notATrace(found: header.format) }
    guard header.version == Self.version else { throw .otherVersion(found: header.version, known: Self.version) }
    guard header.pageSize == PageGeometry.pageByteCount else { throw .badPageSize(found: header.pageSize) }
    guard header.memoryBytes > 0, header.memoryBytes <= BlockTable.totalByteCountMax,
      header.memoryBytes.isMultiple(of: UInt64(PageGeometry.pageByteCount))
    else { throw .badMemory(found: header.memoryBytes) }
    self.header = header
  }

  /// Adds the next sample.
  public mutating func append(_ sample: Sample) throws(DirtyTraceError) {
    guard samples.count < Self.sampleMax else { throw .tooMany(what: "samples", allowed: Self.sampleMax) }
    guard sample.windows.count <= Self.windowMax else { throw .tooMany(what: "windows", allowed: Self.windowMax) }
    let before = samples.last?.t ?? 0
    try Self.check("t", sample.t, before...1e9)
    for window in sample.windows {
      try Self.check("seconds", window.seconds, 1e-6...1e9)
      try Self.check("pages", window.pages, 0...memoryPages)
      if let spans = window.spans { try Self.check("spans", spans, 0...memoryPages) }
    }
    if let pages = sample.workingSetPages { try Self.check("workingSetPages", pages, 0...memoryPages) }
    if let place = sample.place {
      guard place.count == 2 else { throw .tooMany(what: "ends of a place", allowed: 2) }
      try Self.check("place", place[0], 0...1)
      try Self.check("place", place[1], place[0]...1)
    }
    if let content = sample.content { try content.check() }
    samples.append(sample)
  }

  static func check(_ field: String, _ value: Double, _ allowed: ClosedRange<Double>) throws(DirtyTraceError) {
    guard value.isFinite, allowed.contains(value) else {
      throw .outside(field: field, found: value, allowed: allowed)
    }
  }

  /// Pages of the guest.
  public var memoryPages: Double { Double(header.memoryBytes) / Double(PageGeometry.pageByteCount) }

  /// What pages hold, as the last sample that says so has it.
  public var content: PageCosts? { samples.last { $0.content != nil }?.content }

  /// Where in memory the guest writes, as the last sample that says so has it.
  public var place: ClosedRange<Double>? {
    samples.last { $0.place != nil }?.place.map { $0[0]...$0[1] }
  }

  /// The guest's curve: windows of a length on average over all samples, and the working set at the end.
  public var curve: DirtyCurve {
    var points = means { $0.pages }
    let longest = points.map { $0.seconds }.max() ?? 0
    if let last = samples.last(where: { $0.workingSetPages != nil }), last.t > longest * 1.25 {
      points.append(.init(seconds: last.t, pages: last.workingSetPages ?? 0))
    }
    return .measured(points, limit: memoryPages)
  }

  /// The same of spans that are written to; nil if they were not counted.
  public var spanCurve: DirtyCurve? {
    let points = means { $0.spans }
    return points.isEmpty ? nil : .measured(points, limit: memoryPages)
  }

  /// Samples of the guest as it is when it is left alone. Those that were taken while it moved know no working set; they
  /// are of a guest that may have been throttled, and of pages that somebody else was reading: they count only if there
  /// is nothing else.
  private var ownPace: [Sample] {
    let alone = samples.filter { $0.workingSetPages != nil }
    return alone.isEmpty ? samples : alone
  }

  private func means(_ figure: (Window) -> Double?) -> [DirtyCurve.Point] {
    // Windows of 0.1 s come as 0.1003 s: lengths within a factor of the fourth root of 2 are one.
    var sums: [Int: (seconds: Double, pages: Double, count: Double)] = [:]
    for window in ownPace.lazy.flatMap({ $0.windows }) {
      guard let pages = figure(window) else { continue }
      let key = Self.key(window.seconds)
      let before = sums[key] ?? (0, 0, 0)
      sums[key] = (before.seconds + window.seconds, before.pages + pages, before.count + 1)
    }
    return sums.values.map { .init(seconds: $0.seconds / $0.count, pages: $0.pages / $0.count) }
  }

  private static func key(_ seconds: Double) -> Int { Int((log2(seconds / 0.1) * 2).rounded()) }
}

/// What sending a guest's pages costs, as its content was sampled.
public struct PageCosts: Sendable, Codable, Equatable {
  /// Of all pages: known to hold nothing, and zero though they might hold something.
  public var holeShare: Double
  public var zeroShare: Double
  /// Of pages that were written again: the share whose delta is shorter than the page, and its bytes on average.
  public var deltaShare: Double?
  public var deltaBytesPerPage: Double?
  /// What codecs make of pages that are not zero.
  public var codecs: [Codec]

  public struct Codec: Sendable, Codable, Equatable {
    /// As an operator names it: `zstd:1`.
    public var codec: String
    public var bytesPerPage: Double
    /// The same for pages that the guest writes, which may hold something else; nil if that was not sampled.
    public var hotBytesPerPage: Double?
    /// CPU time of encoding.
    public var nanosecondsPerPage: Double

    public init(codec: String, bytesPerPage: Double, hotBytesPerPage: Double? = nil, nanosecondsPerPage: Double) {
      self.codec = codec
      self.bytesPerPage = bytesPerPage
      self.hotBytesPerPage = hotBytesPerPage
      self.nanosecondsPerPage = nanosecondsPerPage
    }
  }

  public init(
    holeShare: Double, zeroShare: Double, deltaShare: Double? = nil, deltaBytesPerPage: Double? = nil,
    codecs: [Codec] = []
  ) {
    self.holeShare = holeShare
    self.zeroShare = zeroShare
    self.deltaShare = deltaShare
    self.deltaBytesPerPage = deltaBytesPerPage
    self.codecs = codecs
  }

  func check() throws(DirtyTraceError) {
    try DirtyTrace.check("holeShare", holeShare, 0...1)
    try DirtyTrace.check("zeroShare", zeroShare, 0...1)
    guard holeShare + zeroShare <= 1.000001 else {
      throw .outside(field: "zeroShare", found: zeroShare, allowed: 0...1 - holeShare)
    }
    if let deltaShare { try DirtyTrace.check("deltaShare", deltaShare, 0...1) }
    let most = Double(PageGeometry.pageByteCount) * 2
    if let deltaBytesPerPage { try DirtyTrace.check("deltaBytesPerPage", deltaBytesPerPage, 0...most) }
    guard codecs.count <= DirtyTrace.windowMax else { throw .tooMany(what: "codecs", allowed: DirtyTrace.windowMax) }
    for codec in codecs {
      try DirtyTrace.check("bytesPerPage", codec.bytesPerPage, 0...most)
      if let hot = codec.hotBytesPerPage { try DirtyTrace.check("hotBytesPerPage", hot, 0...most) }
      try DirtyTrace.check("nanosecondsPerPage", codec.nanosecondsPerPage, 0...1e9)
    }
  }
}

/// Why a trace was refused.
public enum DirtyTraceError: Error, Equatable, CustomStringConvertible {
  case notATrace(found: String)
  case otherVersion(found: Int, known: Int)
  case badPageSize(found: Int)
  case badMemory(found: UInt64)
  case outside(field: String, found: Double, allowed: ClosedRange<Double>)
  case tooMany(what: String, allowed: Int)

  public var description: String {
    switch self {
    case .notATrace(let found): "its format is '\(found.prefix(40))', not '\(DirtyTrace.format)'"
    case .otherVersion(let found, let known): "it is of version \(found), this is for version \(known)"
    case .badPageSize(let found): "its pages have \(found) bytes, only \(PageGeometry.pageByteCount) are known here"
    case .badMemory(let found): "\(found) bytes of memory: not a positive multiple of 4096 of at most 64 TiB"
    case .outside(let field, let found, let allowed):
      "\(field) is \(found), allowed is \(allowed.lowerBound) to \(allowed.upperBound)"
    case .tooMany(let what, let allowed): "more than \(allowed) \(what)"
    }
  }
}
