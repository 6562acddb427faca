// SPDX-License-Identifier: Apache-2.0
public import SystemPackage

/// What a lane remembers of pages that were sent, without the pages: for measuring what it costs as memory grows
/// (`Benchmarks/run scaling`). Not for use by anybody else.
@_spi(Benchmarks) public struct LaneMetadata: ~Copyable {
  private var sent: SentHashes
  private var cache: DeltaCache?
  private var iteration: UInt32 = 1
  /// Bytes of the hashes.
  public let hashByteCount: Int
  /// Bytes of the cache's index.
  public let indexByteCount: Int

  /// - Parameters:
  ///   - pageCount: pages that the lane may have to remember.
  ///   - cacheByteCount: what its delta cache may take; no page of it is touched here.
  public init(pageCount: Int, cacheByteCount: Int) throws(Errno) {
    let hashes = try SentHashes(pageCount: pageCount)
    var cache = try DeltaCache(byteCount: cacheByteCount)
    indexByteCount = (cache?.capacity ?? 0) * MemoryLayout<UInt64>.size
    hashByteCount = pageCount * MemoryLayout<UInt64>.size
    sent = consume hashes
    self.cache = cache.take()
  }

  /// Begins another iteration.
  public mutating func advance() { iteration += 1 }

  /// Compares the hash of each page with `hash`, and puts that in its place.
  /// - Returns: pages that had it already.
  public mutating func noteHashes(_ pages: [Int], hash: UInt64) -> Int {
    var unchanged = 0
    let kept = SentHashes.kept(hash)
    for page in pages {
      if sent[page] == kept { unchanged += 1 }
      sent[page] = kept
    }
    return unchanged
  }

  /// Looks each page up in the cache's index, and gives those that are not there a place.
  /// - Returns: pages that were there.
  public mutating func lookUp(_ pages: [Int]) -> Int {
    guard var cache = cache.take() else { return 0 }
    var hits = 0
    for page in pages {
      if let slot = cache.slot(of: page) {
        hits += 1
        cache.use(slot, iteration: iteration)
      } else if let vacancy = cache.vacancy(for: page, iteration: iteration, isHot: true) {
        cache.occupy(vacancy, page: page, iteration: iteration, isHot: true)
      }
    }
    self.cache = consume cache
    return hits
  }
}
