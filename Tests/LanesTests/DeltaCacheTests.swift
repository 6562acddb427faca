// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import TestSupport
import Testing

@testable import Lanes

@Suite("The delta cache")
struct DeltaCacheTests {
  /// A cache of `pages` pages or a little less.
  private static func cache(pages: Int) throws -> DeltaCache {
    guard let cache = try DeltaCache(byteCount: pages * DeltaCache.pageByteCount) else {
      throw CancellationError()
    }
    return cache
  }

  /// Puts a page in, with its number as content.
  @discardableResult
  private static func put(_ page: Int, into cache: inout DeltaCache, iteration: UInt32, isHot: Bool) -> Bool {
    guard let vacancy = cache.vacancy(for: page, iteration: iteration, isHot: isHot) else { return false }
    cache.occupy(vacancy, page: page, iteration: iteration, isHot: isHot)
    cache.withPage(vacancy.slot) { $0.storeNumber(page) }
    return true
  }

  @Test("A page is found under its number, with its own content, whatever else comes and goes", arguments: 1...8)
  func content(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var cache = try Self.cache(pages: Int.random(in: 8...400, using: &random))
    for step in 0..<20_000 {
      let page = Int.random(in: 0..<3000, using: &random)
      let iteration = UInt32(1 + step / 1000)
      if let slot = cache.slot(of: page) {
        let found = cache.withPage(slot) { $0.number }
        #expect(found == page)
        cache.use(slot, iteration: iteration)
      } else {
        Self.put(page, into: &cache, iteration: iteration, isHot: Bool.random(using: &random))
      }
    }
    #expect(cache.count <= cache.capacity)
    #expect((0..<3000).count { cache.slot(of: $0) != nil } == cache.count)
  }

  @Test("Its size is what was asked for, or a little less")
  func size() throws {
    for pages in [8, 9, 16, 100, 1000, 4095] {
      let cache = try Self.cache(pages: pages)
      #expect(cache.byteCount <= pages * DeltaCache.pageByteCount)
      #expect(cache.capacity > pages - 3 * DeltaCache.wayCount)
    }
    if try DeltaCache(byteCount: 8 * DeltaCache.pageByteCount - 1) != nil { Issue.record("a cache without room") }
  }

  @Test("A bulk pass flushes nothing: it fills what is free")
  func scan() throws {
    var cache = try Self.cache(pages: 256)
    for page in 0..<100 { Self.put(page, into: &cache, iteration: 1, isHot: true) }
    for page in 1000..<20_000 { Self.put(page, into: &cache, iteration: 1, isHot: false) }
    #expect((0..<100).allSatisfy { cache.slot(of: $0) != nil })
    #expect(cache.count == cache.capacity)
    // Those on probation make room for pages that are dirtied again.
    for page in 20_000..<20_100 { Self.put(page, into: &cache, iteration: 1, isHot: true) }
    #expect((20_000..<20_100).count { cache.slot(of: $0) != nil } == 100)
    #expect((0..<100).allSatisfy { cache.slot(of: $0) != nil })
  }

  @Test("Of a hot set that is twice as large as the cache, half is hit in every iteration")
  func thrash() throws {
    var cache = try Self.cache(pages: 1024)
    let hotPages = 0..<2 * cache.capacity
    var hits: [Int] = []
    for iteration in 1...6 as ClosedRange<UInt32> {
      var found = 0
      for page in hotPages {
        if let slot = cache.slot(of: page) {
          found += 1
          cache.use(slot, iteration: iteration)
        } else {
          Self.put(page, into: &cache, iteration: iteration, isHot: true)
        }
      }
      hits.append(found)
    }
    #expect(hits.dropFirst().allSatisfy { $0 == cache.capacity }, "\(hits)")
  }

  @Test("What was not used in this iteration or the one before makes room")
  func ages() throws {
    var cache = try Self.cache(pages: 64)
    let capacity = cache.capacity
    for page in 0..<capacity { Self.put(page, into: &cache, iteration: 1, isHot: true) }
    #expect(!Self.put(1000, into: &cache, iteration: 1, isHot: true))
    #expect(!Self.put(1000, into: &cache, iteration: 2, isHot: true))
    #expect(Self.put(1000, into: &cache, iteration: 3, isHot: true))
    #expect(cache.slot(of: 1000) != nil && cache.count == capacity)
  }

  @Test(
    "Another size keeps what fits, hot pages first, and names what goes", arguments: [(64, 640), (640, 64), (64, 8)])
  func resized(from: Int, to: Int) throws {
    var cache = try Self.cache(pages: from)
    let hot = 0..<min(8, to)
    for page in hot { Self.put(page, into: &cache, iteration: 1, isHot: true) }
    for page in 100..<100 + from { Self.put(page, into: &cache, iteration: 1, isHot: false) }
    let before = (0..<2000).filter { cache.slot(of: $0) != nil }
    var dropped: [Int] = []
    var next = try DeltaCache(byteCount: to * DeltaCache.pageByteCount)
    cache.move(
      to: &next, iteration: 2,
      dropped: { page, copy in
        #expect(copy.number == page)
        dropped.append(page)
      })
    let after = (0..<2000).filter { next?.slot(of: $0) != nil }
    #expect(Set(after).union(dropped) == Set(before) && after.count + dropped.count == before.count)
    #expect(hot.allSatisfy { after.contains($0) })
    for page in after {
      guard let slot = next?.slot(of: page) else { continue }
      let number = next?.withPage(slot) { $0.number }
      #expect(number == page)
    }
  }
}

extension RawSpan {
  fileprivate var number: Int { unsafe unsafeLoad(fromByteOffset: 0, as: Int.self) }
}

extension MutableRawSpan {
  fileprivate var number: Int { bytes.number }
  fileprivate mutating func storeNumber(_ number: Int) {
    storeBytes(of: number, toByteOffset: 0, as: Int.self)
  }
}
