// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageCodecs
import PageModel
import Workload

/// Measures codecs on one core, with pages as they are, frame by frame as a lane does.
enum CodecMeter {
  /// Pages of a frame.
  private static let pagesPerFrame = 96
  private static let frameByteCount = pagesPerFrame * PageGeometry.pageByteCount
  /// Pages that are not zero, one after the other, from a content; at most 12 MiB.
  static func sample(_ content: WorkloadContent, byteCount: UInt64) -> [UInt8] {
    let pageCount = Int(min(byteCount, 1 << 30)) / PageGeometry.pageByteCount
    var sample: [UInt8] = []
    var page = 0
    var bytes = [UInt8](repeating: 0, count: PageGeometry.pageByteCount)
    while page < pageCount, sample.count < 32 * frameByteCount {
      if !content.isZero(page: page) {
        unsafe bytes.withUnsafeMutableBytes { raw in
          // SAFETY: the array's own bytes, for as long as the call takes.
          var span = unsafe MutableRawSpan(_unsafeBytes: raw)
          content.write(page: page, into: &span)
        }
        sample += bytes
      }
      page += 1
    }
    return sample
  }

  /// What a codec does with `sample`; nil if it cannot be used here, or there is nothing to encode.
  /// - Parameter limit: CPU time for either direction, in nanoseconds; at least one frame is done.
  static func measure(_ choice: CodecChoice, _ sample: [UInt8], limit: UInt64) -> CodecFigures? {
    let frames = sample.count / frameByteCount
    guard frames > 0, choice != .none else { return nil }
    do {
      let history = 64 << 20
      let (encoder, decoder) = (
        try choice.make(historyByteCount: history), try choice.make(historyByteCount: history)
      )
      var encoded = [[UInt8]?](repeating: nil, count: frames)
      // Twice as much as goes in: what does not shrink is measured as well.
      var room = [UInt8](repeating: 0, count: 2 * frameByteCount)
      var (bytesIn, bytesOut) = (0, 0)
      let started = HostClock.threadCPU()
      while bytesIn < frames * frameByteCount, HostClock.threadCPU() - started < limit {
        let frame = bytesIn / frameByteCount
        let size = with(sample, frame) { source in
          unsafe room.withUnsafeMutableBytes { raw -> Int? in
            var target = unsafe MutableRawSpan(_unsafeBytes: raw)
            return encoder.encode(source, into: &target)
          }
        }
        if let size { encoded[frame] = Array(room.prefix(size)) }
        bytesIn += frameByteCount
        // A lane sends what does not shrink as it is.
        bytesOut += min(size ?? frameByteCount, frameByteCount)
      }
      let encode = Double(bytesIn) * 1e9 / Double(max(1, HostClock.threadCPU() - started))
      return CodecFigures(
        codec: "\(choice)", encode: encode, decode: try decodingRate(decoder, encoded, into: &room, limit),
        ratio: Double(bytesIn) / Double(max(1, bytesOut)))
    } catch { return nil }
  }

  private static func decodingRate(
    _ decoder: any FrameCodec, _ encoded: [[UInt8]?], into room: inout [UInt8], _ limit: UInt64
  ) throws(CodecError) -> Double {
    var decoded = 0
    let started = HostClock.threadCPU()
    for case let frame? in encoded {
      let failure = unsafe room.withUnsafeMutableBytes { raw -> CodecError? in
        // SAFETY: the room is larger than a frame.
        var target = unsafe MutableRawSpan(
          _unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: raw[..<frameByteCount]))
        do throws(CodecError) { try unsafe decoder.decode(frame.span.bytes, into: &target) } catch { return error }
        return nil
      }
      if let failure { throw failure }
      decoded += frameByteCount
      if HostClock.threadCPU() - started > limit { break }
    }
    return Double(decoded) * 1e9 / Double(max(1, HostClock.threadCPU() - started))
  }

  private static func with<Result>(_ sample: [UInt8], _ frame: Int, _ body: (RawSpan) -> Result) -> Result {
    // SAFETY: initialized bytes of an array, for as long as the call takes.
    unsafe body(sample.span.bytes.extracting(frame * frameByteCount..<(frame + 1) * frameByteCount))
  }
}

/// Measures a whole host.
enum HostMeter {
  /// - Parameters:
  ///   - sample: pages for the codecs.
  ///   - budget: bytes that may be used.
  ///   - seconds: CPU time for either direction of each codec.
  static func measure(codecs: [String], sample: [UInt8], budget: UInt64, seconds: Double) -> HostFigures {
    var figures = MemoryMeter(budget: budget, threadCount: HostThread.allowedCPUs().count).measure()
    for name in codecs {
      guard let choice = try? CodecChoice(parsing: name) else { continue }
      if let found = CodecMeter.measure(choice, sample, limit: UInt64(seconds * 1e9)) { figures.codecs.append(found) }
    }
    return figures
  }
}
