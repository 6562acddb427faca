// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel

/// What came out when a guest's memory was compared with what the guest knows.
public struct WorkloadVerification: Sendable, Equatable, CustomStringConvertible {
  /// Pages that were compared, byte for byte.
  public let pagesChecked: Int
  /// Writes of pages that the guest made, and that its memory shows.
  public let writesAccounted: UInt64
  /// Pages and threads that something is wrong with.
  public let faultCount: Int
  /// The first of them, by page: a sentence each.
  public let faults: [String]
  public let elapsed: Duration

  /// Most sentences in ``faults``.
  public static let faultsMax = 8

  /// Whether nothing was lost, torn or stale.
  public var isSound: Bool { faultCount == 0 }

  /// Guest memory compared in a second, in bytes.
  public var bytesPerSecond: Double {
    Double(pagesChecked * PageGeometry.pageByteCount) / max(elapsed.seconds, 1e-9)
  }

  public var description: String {
    let work = "\(pagesChecked) pages checked in \(Decimal.fixed(elapsed.seconds, digits: 2)) s"
    guard !isSound else { return "\(work): sound, \(writesAccounted) writes accounted for" }
    return "\(work): \(faultCount) faults: " + faults.joined(separator: "; ")
  }
}
