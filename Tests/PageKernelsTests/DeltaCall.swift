// SPDX-License-Identifier: Apache-2.0
import PageKernels

/// Calls of the delta kernels in memory that shows what was written where nothing may be.
enum DeltaCall {
  private static let untouched: UInt8 = 0xa5
  private static let margin = 64

  /// What an encoder returned and wrote.
  struct Encoding {
    let result: Delta.Result
    /// The delta, empty if there is none.
    let delta: [UInt8]
    /// Whether nothing was written before the destination or past capacity and scratch.
    let isInside: Bool
  }

  static func encode(_ base: [UInt8], _ page: [UInt8], capacity: Int, tier: KernelTier) -> Encoding {
    encoding(capacity) { to in
      withSpan(base) { base in
        withSpan(page) { Delta.encode(from: base, to: $0, into: &to, capacity: capacity, tier: tier) }
      }
    }
  }

  static func update(_ cached: inout [UInt8], _ page: [UInt8], capacity: Int, tier: KernelTier) -> Encoding {
    withSpan(page) { update(&cached, from: $0, capacity: capacity, tier: tier) }
  }

  static func update(_ cached: inout [UInt8], from page: RawSpan, capacity: Int, tier: KernelTier) -> Encoding {
    encoding(capacity) { to in
      withMutableSpan(&cached, 0..<pageByteCount) {
        Delta.update(cached: &$0, to: page, into: &to, capacity: capacity, tier: tier)
      }
    }
  }

  private static func encoding(_ capacity: Int, _ call: (inout MutableRawSpan) -> Delta.Result) -> Encoding {
    let end = margin + capacity + Delta.scratchByteCount
    var room = [UInt8](repeating: untouched, count: end + margin)
    let result = withMutableSpan(&room, margin..<end, call)
    let isInside = room[..<margin].allSatisfy { $0 == untouched } && room[end...].allSatisfy { $0 == untouched }
    guard case .delta(let byteCount) = result else { return Encoding(result: result, delta: [], isInside: isInside) }
    return Encoding(result: result, delta: Array(room[margin..<margin + byteCount]), isInside: isInside)
  }

  /// Applies `delta` to `page`.
  /// - Returns: the fault, or nil, and whether nothing was written outside the page.
  static func apply(_ delta: [UInt8], to page: inout [UInt8], tier: KernelTier) -> (fault: Delta.Fault?, Bool) {
    let margins = [UInt8](repeating: untouched, count: margin)
    var room = margins + page + margins
    let fault = withMutableSpan(&room, margin..<margin + pageByteCount) { to in
      withSpan(delta) { delta in
        do throws(Delta.Fault) { try Delta.apply(delta, to: &to, tier: tier) } catch { return Delta.Fault?.some(error) }
        return nil
      }
    }
    page = Array(room[margin..<margin + pageByteCount])
    let isInside =
      room.prefix(margin).allSatisfy { $0 == untouched } && room.suffix(margin).allSatisfy { $0 == untouched }
    return (fault, isInside)
  }

  static func check(_ delta: [UInt8]) -> Delta.Fault? {
    withSpan(delta) { delta in
      do throws(Delta.Fault) { try Delta.check(delta) } catch { return error }
      return nil
    }
  }

  /// Takes a pair of pages every way through a tier's kernels.
  /// - Parameter expected: the delta that they must have, as the reference or the test's own arithmetic says.
  /// - Returns: nil, or what was wrong.
  static func problem(_ base: [UInt8], _ page: [UInt8], expected: [UInt8], tier: KernelTier) -> String? {
    let result: Delta.Result = expected.isEmpty ? .unchanged : .delta(byteCount: expected.count)
    for capacity in [expected.count, expected.count + 1000] {
      let encoding = encode(base, page, capacity: capacity, tier: tier)
      guard encoding.result == result else { return "encode with \(capacity) bytes: \(encoding.result)" }
      guard isSame(encoding.delta, expected) else { return "encode with \(capacity) bytes: another delta" }
      guard encoding.isInside else { return "encode with \(capacity) bytes: written outside" }
      var cached = base
      let update = update(&cached, page, capacity: capacity, tier: tier)
      guard update.result == result else { return "update with \(capacity) bytes: \(update.result)" }
      guard isSame(update.delta, expected) else { return "update with \(capacity) bytes: another delta" }
      guard update.isInside else { return "update with \(capacity) bytes: written outside" }
      guard isSame(cached, page) else { return "update with \(capacity) bytes: the copy is not the page" }
    }
    if let fault = check(expected) { return "check: \(fault)" }
    var target = base
    let (fault, isInside) = apply(expected, to: &target, tier: tier)
    if let fault { return "apply: \(fault)" }
    guard isInside else { return "apply: written outside the page" }
    return isSame(target, page) ? nil : "apply: another page"
  }
}
