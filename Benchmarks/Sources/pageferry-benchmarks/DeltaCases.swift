// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

extension Case {
  /// Deltas of pages against the copies that were sent last. One operation is a pass over all pairs.
  static func delta(_ peer: Peer?) -> [Case] {
    DeltaShape.allCases.map { encode($0, peer) } + DeltaShape.allCases.map { update($0, peer) }
      + DeltaShape.allCases.filter(\.hasDelta).map { apply($0, peer) }
  }

  private static let byteCount = DeltaPairs.count * PageGeometry.pageByteCount

  private static func encode(_ shape: DeltaShape, _ peer: Peer?) -> Case {
    var variants = Variant.tiers { tier in
      let pairs = try DeltaPairs(shape)
      let delta = try Pages(count: 2)
      return { encodeAll(pairs, delta, tier, $0) }
    }
    if let encoder = peer?.encoder {
      variants.append(
        .timed(Peer.label) {
          let pairs = try DeltaPairs(shape)
          let delta = try Pages(count: 2)
          return { encodeAll(pairs, delta, encoder, $0) }
        })
    }
    return Case(name: "delta-encode/\(shape.rawValue)", byteCount: byteCount, variants: variants)
  }

  private static func update(_ shape: DeltaShape, _ peer: Peer?) -> Case {
    var variants = Variant.tiers { tier in
      let cache = try DeltaCache(shape)
      return { cache.updateAll(tier, $0) }
    }
    if let encoder = peer?.encoder {
      variants.append(
        .timed(Peer.label) {
          let cache = try DeltaCache(shape)
          return { cache.updateAll(encoder, $0) }
        })
    }
    return Case(name: "delta-update/\(shape.rawValue)", byteCount: byteCount, variants: variants)
  }

  private static func apply(_ shape: DeltaShape, _ peer: Peer?) -> Case {
    var variants = Variant.tiers { tier in
      let deltas = try EncodedDeltas(shape)
      return { applyAll(deltas, tier, $0) }
    }
    if let decoder = peer?.decoder {
      variants.append(
        .timed(Peer.label) {
          let deltas = try EncodedDeltas(shape)
          return { applyAll(deltas, decoder, $0) }
        })
    }
    // What lies between the runs is neither read nor written, so that GB/s would be a fiction.
    return Case(name: "delta-apply/\(shape.rawValue)", byteCount: 0, variants: variants)
  }
}

/// The cache of one side, the guest's pages before and after, and where deltas go.
private final class DeltaCache {
  private let cached: Pages
  private let pairs: DeltaPairs
  private let delta: Pages
  private let staging: Pages
  /// Which pages the cache holds: an update moves it to the other ones, which differ in the same places.
  private var holdsBase = true

  init(_ shape: DeltaShape) throws {
    pairs = try DeltaPairs(shape)
    cached = try SampleData.guest.span()
    delta = try Pages(count: 2)
    staging = try Pages(count: 1)
  }

  @inline(never)
  func updateAll(_ tier: KernelTier, _ times: Int) -> UInt64 {
    eachUpdate(times) { cached, page, delta in
      Delta.update(cached: &cached, to: page, into: &delta, capacity: DeltaPairs.capacity, tier: tier)
    }
  }

  /// What takes the place of an update where there is none: the page is copied out of the guest, compared and encoded,
  /// and copied into the cache if it has changed.
  @inline(never)
  func updateAll(_ encoder: Peer.Encoder, _ times: Int) -> UInt64 {
    let staging = staging
    return eachUpdate(times) { cached, page, delta in
      staging.write { copy in
        copy.copyBytes(of: page)
        let result = encoder(from: cached.bytes, to: copy.bytes, into: &delta, capacity: DeltaPairs.capacity)
        if result != .unchanged { cached.copyBytes(of: copy.bytes) }
        return result
      }
    }
  }

  @inline(__always)
  private func eachUpdate(
    _ times: Int,
    _ update: (_ cached: inout MutableRawSpan, _ page: RawSpan, _ delta: inout MutableRawSpan) -> Delta.Result
  ) -> UInt64 {
    var seen: UInt64 = 0
    for _ in 0..<times {
      (holdsBase ? pairs.page : pairs.base).read { pages in
        cached.write { cached in
          delta.write { delta in
            for number in 0..<DeltaPairs.count {
              var entry = cached._mutatingExtracting(number.bytesOfPage)
              seen &+= update(&entry, pages.extracting(number.bytesOfPage), &delta).length
            }
          }
        }
      }
      holdsBase.toggle()
    }
    return seen
  }
}

/// The deltas of all pairs, and the pages that they apply to: once applied, they change nothing, and cost the same.
private final class EncodedDeltas {
  let page: Pages
  let delta: Pages
  /// Where each delta lies in `delta`.
  let places: [Range<Int>]

  init(_ shape: DeltaShape) throws {
    let pairs = try DeltaPairs(shape)
    let scratch = try Pages(count: 2)
    let delta = try Pages(count: DeltaPairs.count)
    var places: [Range<Int>] = []
    for number in 0..<DeltaPairs.count {
      let start = places.last?.upperBound ?? 0
      let end = start + Int(pairs.encode(number, into: scratch).length)
      scratch.read { from in
        delta.write { to in
          var target = to._mutatingExtracting(start..<end)
          target.copyBytes(of: from.extracting(0..<end - start))
        }
      }
      places.append(start..<end)
    }
    page = pairs.base
    self.delta = delta
    self.places = places
  }
}

extension Delta.Result {
  /// Bytes that go on the wire as a delta.
  var length: UInt64 {
    if case .delta(let byteCount) = self { return UInt64(byteCount) }
    return 0
  }
}

@inline(never)
private func encodeAll(_ pairs: DeltaPairs, _ delta: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  eachPair(pairs, delta, times) {
    Delta.encode(from: $0, to: $1, into: &$2, capacity: DeltaPairs.capacity, tier: tier)
  }
}

@inline(never)
private func encodeAll(_ pairs: DeltaPairs, _ delta: Pages, _ encoder: Peer.Encoder, _ times: Int) -> UInt64 {
  eachPair(pairs, delta, times) { encoder(from: $0, to: $1, into: &$2, capacity: DeltaPairs.capacity) }
}

@inline(__always)
private func eachPair(
  _ pairs: DeltaPairs, _ delta: Pages, _ times: Int,
  _ encode: (_ base: RawSpan, _ page: RawSpan, _ delta: inout MutableRawSpan) -> Delta.Result
) -> UInt64 {
  pairs.base.read { base in
    pairs.page.read { page in
      delta.write { delta in
        var seen: UInt64 = 0
        for _ in 0..<times {
          for number in 0..<DeltaPairs.count {
            seen &+= encode(base.extracting(number.bytesOfPage), page.extracting(number.bytesOfPage), &delta).length
          }
        }
        return seen
      }
    }
  }
}

@inline(never)
private func applyAll(_ deltas: EncodedDeltas, _ tier: KernelTier, _ times: Int) -> UInt64 {
  eachDelta(deltas, times) { delta, page in
    do throws(Delta.Fault) { try Delta.apply(delta, to: &page, tier: tier) } catch {
      fatalError("a sample delta was refused: \(error)")
    }
  }
}

@inline(never)
private func applyAll(_ deltas: EncodedDeltas, _ decoder: Peer.Decoder, _ times: Int) -> UInt64 {
  eachDelta(deltas, times) { delta, page in
    guard decoder(delta, to: &page) else { fatalError("the peer refused a sample delta") }
  }
}

@inline(__always)
private func eachDelta(
  _ deltas: EncodedDeltas, _ times: Int, _ apply: (_ delta: RawSpan, _ page: inout MutableRawSpan) -> Void
) -> UInt64 {
  deltas.delta.read { delta in
    deltas.page.write { pages in
      for _ in 0..<times {
        for (number, place) in deltas.places.enumerated() {
          var page = pages._mutatingExtracting(number.bytesOfPage)
          apply(delta.extracting(place), &page)
        }
      }
      return UInt64(pages.byteCount)
    }
  }
}
