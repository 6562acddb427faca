// SPDX-License-Identifier: Apache-2.0

/// What one codec at one level has done, over all lanes.
public struct CodecUsage: Sendable, Equatable, Codable {
  /// As the operator types it: `zstd:1`.
  public var codec: String
  /// Lanes that use it now.
  public var lanes = 0
  public var frames: UInt64 = 0
  /// Pages that travelled encoded, and their bytes before and after.
  public var pages: UInt64 = 0
  public var bytesIn: UInt64 = 0
  public var bytesOut: UInt64 = 0
  /// Pages that were given to it and travelled raw, because they look random or did not shrink.
  public var bypassedPages: UInt64 = 0
  /// CPU time of encoding, bypassed pages included.
  public var cpuNanoseconds: UInt64 = 0

  public init(codec: CodecChoice) { self.codec = codec.description }

  /// Adds what the same codec did elsewhere.
  public mutating func merge(_ other: CodecUsage) {
    lanes += other.lanes
    frames += other.frames
    pages += other.pages
    bytesIn += other.bytesIn
    bytesOut += other.bytesOut
    bypassedPages += other.bypassedPages
    cpuNanoseconds += other.cpuNanoseconds
  }

  /// CPU time per page that it was given.
  public var nanosecondsPerPage: Double {
    let count = pages + bypassedPages
    return count == 0 ? 0 : Double(cpuNanoseconds) / Double(count)
  }

  /// Bytes in per byte out.
  public var ratio: Double { bytesOut == 0 ? 1 : Double(bytesIn) / Double(bytesOut) }
}
