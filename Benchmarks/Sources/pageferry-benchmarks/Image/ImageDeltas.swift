// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// The page path of deltas over what a guest really changed, there and back.
final class ImageDeltas {
  let recorded: RecordedDeltas
  private let changed: ChangedPages
  private let passes: DeltaPasses
  private let peer: Peer?
  private var givenUpCount = 0

  init(_ changed: ChangedPages, _ peer: Peer?) throws {
    self.changed = changed
    self.peer = peer
    recorded = try RecordedDeltas(changed)
    passes = try DeltaPasses(changed)
    if let peer { try check(peer) }
  }

  func run(_ roundCount: Int, pageCount: Int) throws {
    let mean = Double(recorded.byteCount) / Double(max(1, recorded.pages.count))
    print(
      """

      Deltas: \(changed.count) pages differ and hold data in both images, \(percent(changed.count, of: pageCount)) of all
      mean delta \(mean.decimal(0)) bytes; \(percent(changed.count - recorded.pages.count, of: changed.count)) are longer than a page
      """)
    if givenUpCount > 0 { print("the peer gives up on \(givenUpCount) more") }
    update(roundCount)
    if !recorded.pages.isEmpty { try apply(roundCount) }
  }

  private func update(_ roundCount: Int) {
    let expected = UInt64(recorded.byteCount)
    var all = [passes.separate(.scalar, expected: expected)]
    if KernelTier.best != .scalar { all.append(passes.separate(.best, expected: expected)) }
    if let encoder = peer?.encoder { all.append(passes.separate(encoder)) }
    all += KernelTier.available.map { passes.fused($0, expected: expected) }
    for pass in all {
      pass.prepare()
      _ = pass.run(0..<changed.count, 0)
      guard passes.isUpToDate else { fatalError("\(pass.label): the cache does not hold the guest's pages") }
    }
    print("\nSnapshot, delta and cache update of a page")
    measure(all, roundCount, pageCount: changed.count)
  }

  private func apply(_ roundCount: Int) throws {
    let target = try Region(pageCount: changed.count, .huge)
    let pages = 0..<changed.count
    var all = KernelTier.available.map { applying($0, target) }
    if let decoder = peer?.decoder { all.append(applying(decoder, target)) }
    for pass in all {
      _ = References.copyPages(changed.base, target, pages)
      _ = pass.run(0..<recorded.pages.count, 0)
      let correct = References.equalPages(target, changed.page, pages)
      guard correct == UInt64(recorded.pages.count) else { fatalError("\(pass.label): \(correct) pages are right") }
    }
    print("\nApplying a delta")
    measure(all, roundCount, pageCount: recorded.pages.count)
  }

  private func measure(_ all: [Pass], _ roundCount: Int, pageCount: Int) {
    let table = Table(columns: [
      .text("by", 20), .figure("ns/page", 9), .figure("x scalar", 10), .figure("x peer", 9),
    ])
    table.head()
    let samples = Rounds.measure(all, pageCount: pageCount, roundCount: roundCount)
    let theirs = all.firstIndex { $0.label.hasSuffix(Peer.label) }
    for (index, pass) in all.enumerated() {
      table.row([
        pass.label, samples.median(index).asNanoseconds, samples.speedUp(index, over: 0).decimal(2),
        theirs.map { samples.speedUp(index, over: $0).decimal(2) } ?? "",
      ])
    }
  }

  private func applying(_ tier: KernelTier, _ target: Region) -> Pass {
    applying(tier.label, target) { delta, page in
      do throws(Delta.Fault) { try Delta.apply(delta, to: &page, tier: tier) } catch {
        fatalError("a recorded delta was refused: \(error)")
      }
    }
  }

  private func applying(_ decoder: Peer.Decoder, _ target: Region) -> Pass {
    applying(Peer.label, target) { delta, page in
      guard decoder(delta, to: &page) else { fatalError("the peer refused a recorded delta") }
    }
  }

  /// Deltas that were applied once change nothing when they are applied again, and cost the same.
  private func applying(
    _ label: String, _ target: Region, _ apply: @escaping @Sendable (RawSpan, inout MutableRawSpan) -> Void
  ) -> Pass {
    let recorded = recorded
    let pageCount = changed.count
    return Pass(
      label: label,
      prepare: {
        References.evict(target, (0..<pageCount).bytesOfPages)
        References.evict(recorded.bytes, 0..<recorded.byteCount)
      },
      run: { numbers, _ in
        for number in numbers {
          recorded.bytes.read(recorded.places[number]) { delta in
            target.write(recorded.pages[number].bytesOfPage) { apply(delta, &$0) }
          }
        }
        return UInt64(numbers.count)
      })
  }

  /// Every page by the peer, against ours.
  private func check(_ peer: Peer) throws {
    var check = try PeerCheck(peer)
    for number in 0..<changed.count {
      try changed.base.read(number.bytesOfPage) { base in
        try changed.page.read(number.bytesOfPage) { page in
          try check.pair(base, page, "changed page \(number)")
        }
      }
    }
    givenUpCount = check.givenUpCount
  }
}
