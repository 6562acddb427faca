// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageKernels

/// Feeds any bytes to the delta kernels and compares the tiers. Shared by the corpus tests and the fuzzer.
///
/// Every buffer is an allocation of its own, of exactly the bytes that a kernel may use: AddressSanitizer sees the
/// first byte beyond.
enum DeltaDrivers {
  private static let pageByteCount = 4096
  /// No delta is longer than three bytes for every other one of the page.
  private static let longest = pageByteCount / 2 * 3
  private static let base = (0..<pageByteCount).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }

  /// - Returns: nil, or a sentence that says what was wrong.
  static func xbzrle(_ input: [UInt8]) -> String? { applied(input) ?? encoded(input) }

  /// The input as a delta.
  private static func applied(_ input: [UInt8]) -> String? {
    let delta = HeapBytes(input)
    let fault = check(delta)
    if let fault, fault.description.isEmpty { return "a fault without a description" }
    var first: [UInt8]?
    for tier in KernelTier.available {
      let page = HeapBytes(base)
      let found = apply(delta, to: page, tier: tier)
      guard found == fault else {
        return "apply with \(tier) says \(String(describing: found)), check says \(String(describing: fault))"
      }
      let expected = first ?? page.content
      guard page.begins(with: expected) else { return "apply with \(tier) makes another page than scalar" }
      first = expected
    }
    // What was accepted is a page like any other.
    guard fault == nil, let first else { return nil }
    return roundTrip(to: first, capacity: input.count)
  }

  /// The input as what has changed in a page: two bytes say from where on, two how much room there is, and every byte
  /// after them that is not 0 changes one.
  private static func encoded(_ input: [UInt8]) -> String? {
    guard input.count > 4 else { return nil }
    let start = Int(input[0]) | Int(input[1]) << 8
    var page = base
    for at in 0..<min(input.count - 4, pageByteCount) { page[(start + at) % pageByteCount] ^= input[4 + at] }
    return roundTrip(to: page, capacity: (Int(input[2]) | Int(input[3]) << 8) % (longest + 2))
  }

  /// Encodes with every tier into enough room, exactly enough, a byte less, and `capacity`; applies with every tier.
  private static func roundTrip(to page: [UInt8], capacity: Int) -> String? {
    let (result, room, _) = encode(page, capacity: longest, tier: .scalar)
    let isUnchanged = HeapBytes(base).begins(with: page)
    guard result != .overflow, (result == .unchanged) == isUnchanged else { return "the scalar tier says \(result)" }
    let delta = room.delta(result)
    for capacity in [longest, delta.count, max(0, delta.count - 1), capacity] {
      let expected = delta.count <= capacity ? result : .overflow
      for tier in KernelTier.available {
        for isUpdate in [false, true] {
          let name = isUpdate ? "update" : "encode"
          let call = isUpdate ? update : encode
          let (found, room, cached) = call(page, capacity, tier)
          guard found == expected, found == .overflow || room.begins(with: delta) else {
            return "\(name) with \(tier) into \(capacity) bytes: \(found), or another delta; scalar says \(expected)"
          }
          guard cached.begins(with: isUpdate ? page : base) else {
            return "\(name) with \(tier) into \(capacity) bytes: the base is not what it should be"
          }
        }
      }
    }
    let source = HeapBytes(delta)
    for tier in KernelTier.available {
      let target = HeapBytes(base)
      let fault = apply(source, to: target, tier: tier)
      guard fault == nil, target.begins(with: page) else { return "with \(tier), a delta does not lead to its page" }
    }
    return nil
  }

  private static func encode(
    _ page: [UInt8], capacity: Int, tier: KernelTier
  ) -> (Delta.Result, room: HeapBytes, base: HeapBytes) {
    let (from, to) = (HeapBytes(base), HeapBytes(page))
    let room = HeapBytes(count: capacity + Delta.scratchByteCount)
    let result = room.withMutableSpan { room in
      from.withSpan { from in
        to.withSpan { Delta.encode(from: from, to: $0, into: &room, capacity: capacity, tier: tier) }
      }
    }
    return (result, room, from)
  }

  private static func update(
    _ page: [UInt8], capacity: Int, tier: KernelTier
  ) -> (Delta.Result, room: HeapBytes, base: HeapBytes) {
    let (cached, to) = (HeapBytes(base), HeapBytes(page))
    let room = HeapBytes(count: capacity + Delta.scratchByteCount)
    let result = room.withMutableSpan { room in
      cached.withMutableSpan { cached in
        to.withSpan { Delta.update(cached: &cached, to: $0, into: &room, capacity: capacity, tier: tier) }
      }
    }
    return (result, room, cached)
  }

  private static func check(_ delta: HeapBytes) -> Delta.Fault? {
    delta.withSpan { delta in
      do throws(Delta.Fault) { try Delta.check(delta) } catch { return error }
      return nil
    }
  }

  private static func apply(_ delta: HeapBytes, to page: HeapBytes, tier: KernelTier) -> Delta.Fault? {
    page.withMutableSpan { page in
      delta.withSpan { delta in
        do throws(Delta.Fault) { try Delta.apply(delta, to: &page, tier: tier) } catch { return error }
        return nil
      }
    }
  }
}

/// An allocation of exactly so many bytes.
@safe private final class HeapBytes {
  private let bytes: UnsafeMutableRawBufferPointer

  init(count: Int) {
    unsafe bytes = .allocate(byteCount: count, alignment: 1)
    unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
  }

  init(_ content: [UInt8]) {
    // No bytes have no address.
    unsafe bytes = content.isEmpty ? .init(start: nil, count: 0) : .allocate(byteCount: content.count, alignment: 1)
    unsafe bytes.copyBytes(from: content)
  }

  deinit { unsafe bytes.deallocate() }

  var content: [UInt8] { unsafe Array(bytes) }

  /// Whether the first bytes are those of `content`.
  func begins(with content: [UInt8]) -> Bool {
    guard unsafe content.count <= bytes.count, let base = unsafe bytes.baseAddress else { return content.isEmpty }
    // SAFETY: both hold that many bytes.
    return unsafe memcmp(base, content, content.count) == 0
  }

  /// What an encoder wrote, by its result.
  func delta(_ result: Delta.Result) -> [UInt8] {
    guard case .delta(let byteCount) = result else { return [] }
    return unsafe Array(bytes.prefix(byteCount))
  }

  // SAFETY: a span stays inside the closure.
  func withSpan<Value>(_ body: (RawSpan) -> Value) -> Value {
    body(unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(bytes)))
  }

  func withMutableSpan<Value>(_ body: (inout MutableRawSpan) -> Value) -> Value {
    var span = unsafe MutableRawSpan(_unsafeBytes: bytes)
    return body(&span)
  }
}
