// SPDX-License-Identifier: Apache-2.0
import Convergence
import Testing

@Suite("Recorded traces")
struct DirtyTraceTests {
  private static func trace(memory: UInt64 = 1 << 30) throws -> DirtyTrace {
    try DirtyTrace(.init(memoryBytes: memory))
  }

  @Test("A header of another format, version, page size or memory is refused")
  func headers() throws {
    func error(_ change: (inout DirtyTrace.Header) -> Void) -> DirtyTraceError? {
      var header = DirtyTrace.Header(memoryBytes: 1 << 30)
      change(&header)
      do throws(DirtyTraceError) { _ = try DirtyTrace(header) } catch { return error }
      return nil
    }
    #expect(error { _ in } == nil)
    #expect(error { $0.format = "elf" } == .notATrace(found: "elf"))
    #expect(error { $0.version = 2 } == .otherVersion(found: 2, known: 1))
    #expect(error { $0.pageSize = 16384 } == .badPageSize(found: 16384))
    for memory in [0, 4097, UInt64.max / 4096 * 4096] {
      #expect(error { $0.memoryBytes = memory } == .badMemory(found: memory))
    }
  }

  @Test("A sample with what cannot be is refused, and the trace is as it was")
  func samples() throws {
    var trace = try Self.trace()
    try trace.append(.init(t: 1, windows: [.init(seconds: 0.1, pages: 5)]))
    let bad: [DirtyTrace.Sample] = [
      .init(t: 0.5, windows: []), .init(t: .nan, windows: []), .init(t: 2, windows: [.init(seconds: 0, pages: 5)]),
      .init(t: 2, windows: [.init(seconds: 1, pages: -1)]), .init(t: 2, windows: [.init(seconds: 1, pages: 262_145)]),
      .init(t: 2, windows: [.init(seconds: 1, pages: 1, spans: .infinity)]),
      .init(t: 2, windows: [], workingSetPages: 1e9), .init(t: 2, windows: [], place: [0.1]),
      .init(t: 2, windows: [], place: [0.5, 0.4]), .init(t: 2, windows: [], place: [0, .nan]),
      .init(t: 2, windows: Array(repeating: .init(seconds: 1, pages: 1), count: 33)),
      .init(t: 2, windows: [], content: .init(holeShare: 2, zeroShare: 0)),
      .init(t: 2, windows: [], content: .init(holeShare: 0.6, zeroShare: 0.6)),
      .init(t: 2, windows: [], content: .init(holeShare: 0, zeroShare: 0, deltaBytesPerPage: -3)),
      .init(
        t: 2, windows: [],
        content: .init(
          holeShare: 0, zeroShare: 0, codecs: [.init(codec: "x", bytesPerPage: 1e9, nanosecondsPerPage: 0)])),
    ]
    for (index, sample) in bad.enumerated() {
      #expect(throws: DirtyTraceError.self, "sample \(index)") { try trace.append(sample) }
    }
    #expect(trace.samples.count == 1)
  }

  @Test("The curve is the mean of windows of a length, and the working set at the end")
  func curve() throws {
    var trace = try Self.trace()
    for tick in 1...50 {
      var windows = [
        DirtyTrace.Window(seconds: tick.isMultiple(of: 2) ? 0.098 : 0.102, pages: tick.isMultiple(of: 2) ? 90 : 110)
      ]
      if tick.isMultiple(of: 4) { windows.append(.init(seconds: 0.4, pages: 300)) }
      try trace.append(.init(t: Double(tick) / 10, windows: windows, workingSetPages: 1000))
    }
    let curve = trace.curve
    #expect(abs(curve.pages(in: 0.1) - 100) < 0.01 && curve.pages(in: 0.4) == 300 && curve.pages(in: 5) == 1000)
    #expect(curve.limit == 262_144 && trace.spanCurve == nil && trace.place == nil)
    try trace.append(
      .init(t: 5.5, windows: [.init(seconds: 0.4, pages: 300, spans: 40)], workingSetPages: 1000, place: [0.25, 0.5]))
    #expect(trace.spanCurve?.pages(in: 0.4) == 40 && trace.place == 0.25...0.5)
    try trace.append(.init(t: 6, windows: [], content: .init(holeShare: 0.5, zeroShare: 0.25)))
    #expect(trace.content?.zeroShare == 0.25)
  }

  @Test("Samples that were taken while the guest moved count only if there are no others")
  func whileMoving() throws {
    var trace = try Self.trace()
    try trace.append(.init(t: 1, windows: [.init(seconds: 0.1, pages: 10)]))
    #expect(abs(trace.curve.pages(in: 0.1) - 10) < 0.01)
    try trace.append(.init(t: 2, windows: [.init(seconds: 0.1, pages: 100)], workingSetPages: 900))
    try trace.append(.init(t: 3, windows: [.init(seconds: 0.1, pages: 20)]))
    #expect(abs(trace.curve.pages(in: 0.1) - 100) < 0.01)
  }
}
