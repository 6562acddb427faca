// SPDX-License-Identifier: Apache-2.0
import PageModel
import Synchronization

/// What delta caches may take, over all lanes. Any thread may change it; lanes follow at their next iteration.
public final class CacheBudget: Sendable {
  /// How much, as an operator says it.
  public enum Size: Sendable, Equatable, CustomStringConvertible {
    case off
    case bytes(UInt64)
    /// Of guest memory.
    case percent(Double)
    /// As much as the measured hot set needs, at most a quarter of guest memory.
    case automatic

    /// Reads `auto`, `off`, a share of guest memory (`1%`) or a size (`64MiB`); nil for anything else.
    public init?(parsing text: String) {
      switch text.lowercased() {
      case "auto": self = .automatic
      case "off", "0": self = .off
      case let text where text.hasSuffix("%"):
        guard let share = Double(text.dropLast()), share > 0, share <= 100 else { return nil }
        self = .percent(share)
      case let text:
        guard let count = ByteCount.parse(text) else { return nil }
        self = .bytes(count)
      }
    }

    public var description: String {
      switch self {
      case .off: "off"
      case .bytes(let count): ByteCount.format(count)
      case .percent(let share): "\(Decimal.fixed(share, digits: share < 1 ? 2 : 0)) %"
      case .automatic: "auto"
      }
    }
  }

  /// Share of guest memory that `automatic` begins with, and the most that it takes. The beginning is for pages that are
  /// sent before it is known which are hot: some are, and a copy saves sending them whole once more.
  static let automaticShares = 0.05...0.25
  /// The beginning is not more than this, however large the guest.
  static let automaticFirstByteCount = 256 << 20
  /// Room beyond the hot set: pages do not spread evenly over the sets of a cache.
  private static let headroom = 1.25

  private let guestByteCount: UInt64
  private let laneCount: Int
  /// Bytes of all lanes; negative: measured, at most its magnitude.
  private let allowed: Atomic<Int>

  public init(_ size: Size, guestByteCount: UInt64, laneCount: Int) {
    self.guestByteCount = guestByteCount
    self.laneCount = laneCount
    allowed = Atomic(Self.encode(size, guestByteCount))
  }

  /// Changes the size while the migration runs.
  public func set(_ size: Size) { allowed.store(Self.encode(size, guestByteCount), ordering: .relaxed) }

  private static func encode(_ size: Size, _ guestByteCount: UInt64) -> Int {
    let most = Int(clamping: guestByteCount)
    return switch size {
    case .off: 0
    case .bytes(let count): min(Int(clamping: count), most)
    case .percent(let share): Int(Double(most) * min(100, max(0, share)) / 100)
    case .automatic: -Int(Double(most) * automaticShares.upperBound)
    }
  }

  /// What one lane's cache is to take.
  /// - Parameters:
  ///   - hotPageCount: pages of the lane that are being written, as far as is known.
  ///   - last: what this returned before.
  func byteCount(hotPageCount: Int, lanePageCount: Int, last: Int) -> Int {
    let allowed = allowed.load(ordering: .relaxed)
    guard allowed < 0 else { return allowed / laneCount }
    let share = Int(Double(guestByteCount) * Self.automaticShares.lowerBound)
    let first = min(share, Self.automaticFirstByteCount) / laneCount
    let needed = Int(Double(hotPageCount * DeltaCache.pageByteCount) * Self.headroom)
    let wanted = min(max(first, needed), -allowed / laneCount, lanePageCount * DeltaCache.pageByteCount)
    // It grows in steps, and never shrinks by itself.
    return wanted > last + last / 4 ? wanted : last
  }
}
