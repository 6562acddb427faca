// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import PageModel
import Synchronization

/// Compares a guest's memory with what the guest knows: every page with what its generation says, and the generations
/// of a thread's pages with the thread's record.
///
/// The first finds what is torn, swapped or damaged; the second what is whole but stale or lost, because a page that
/// missed its last write looks just as it did before it.
final class MemoryAudit: Sendable {
  private struct Findings {
    var faults: [(page: Int, sentence: String)] = []
    var faultCount = 0
    /// What each thread's pages come to: sum of generations, sum of shares.
    var totals: [(writes: UInt64, sum: UInt64)]
  }

  private let image: GuestImage
  private let records: [WriterRecord]
  private let findings: Mutex<Findings>

  /// The guest does not run.
  init(_ image: GuestImage, records: [WriterRecord]) {
    self.image = image
    self.records = records
    findings = Mutex(Findings(totals: Self.zeros(records.count)))
  }

  private static func zeros(_ count: Int) -> [(writes: UInt64, sum: UInt64)] {
    Array(repeating: (writes: 0, sum: 0), count: count)
  }

  /// - Parameter everything: all pages, not only those of the working set.
  func run(everything: Bool) -> WorkloadVerification {
    let start = HostClock.now()
    let range = everything ? 0..<image.pages.pageCount : image.workingPages
    PageSweep.run(over: range) { [self] _, range in audit(range) }
    let found = findings.withLock { $0 }
    var sentences = found.faults.sorted { $0.page < $1.page }.map { $0.sentence }
    var faultCount = found.faultCount
    for (thread, record) in records.enumerated() {
      let total = found.totals[thread]
      guard total.writes != record.writes || total.sum != record.sum else { continue }
      faultCount += 1
      sentences.append(
        total.writes == record.writes
          ? "thread \(thread): its pages show \(record.writes) writes, as they should, but not the same ones"
          : "thread \(thread): its pages show \(total.writes) writes, it made \(record.writes)")
    }
    return WorkloadVerification(
      pagesChecked: range.count, writesAccounted: found.totals.reduce(0) { $0 &+ $1.writes }, faultCount: faultCount,
      faults: Array(sentences.prefix(WorkloadVerification.faultsMax)),
      elapsed: .nanoseconds(HostClock.now() - start))
  }

  /// Pages of one thread of the sweep.
  private func audit(_ range: Range<Int>) {
    var mine = Findings(totals: Self.zeros(records.count))
    let working = image.workingPages
    let addresses = unsafe image.pages.addresses
    let expected = UnsafeMutableRawPointer.allocate(byteCount: PageGeometry.pageByteCount, alignment: 64)
    defer { unsafe expected.deallocate() }
    for page in range {
      let base = unsafe addresses[page]
      let isWritten = !records.isEmpty && working.contains(page)
      let marked = unsafe MarkedPage(at: base, number: page, seed: image.content.seed)
      let generation = isWritten ? marked.generation : 0
      unsafe image.content.write(page, generation: generation, to: expected)
      if generation > 0 {
        unsafe MarkedPage(at: expected, number: page, seed: image.content.seed).mark(generation)
        let thread = (page - working.lowerBound) % records.count
        mine.totals[thread].writes &+= generation
        mine.totals[thread].sum &+= marked.share(generation)
      }
      // SAFETY: both are pages, and nothing writes them now.
      guard unsafe memcmp(base, expected, PageGeometry.pageByteCount) != 0 else { continue }
      mine.faultCount += 1
      guard mine.faults.count < WorkloadVerification.faultsMax else { continue }
      let byte = unsafe Self.firstDifference(base, expected)
      let values = unsafe (
        base.load(fromByteOffset: byte, as: UInt8.self),
        expected.load(fromByteOffset: byte, as: UInt8.self)
      )
      mine.faults.append(
        (page, Self.sentence(page: page, generation: generation, isWritten: isWritten, byte: byte, values: values)))
    }
    add(mine)
  }

  private func add(_ part: Findings) {
    findings.withLock { all in
      all.faultCount += part.faultCount
      // The first by page, whoever comes first.
      all.faults = Array((all.faults + part.faults).sorted { $0.page < $1.page }.prefix(WorkloadVerification.faultsMax))
      for thread in part.totals.indices {
        all.totals[thread].writes &+= part.totals[thread].writes
        all.totals[thread].sum &+= part.totals[thread].sum
      }
    }
  }

  @unsafe private static func firstDifference(
    _ left: UnsafeMutableRawPointer, _ right: UnsafeMutableRawPointer
  ) -> Int {
    for byte in 0..<PageGeometry.pageByteCount
    where unsafe left.load(fromByteOffset: byte, as: UInt8.self) != right.load(fromByteOffset: byte, as: UInt8.self) {
      return byte
    }
    return 0
  }

  private static func sentence(
    page: Int, generation: UInt64, isWritten: Bool, byte: Int, values: (found: UInt8, expected: UInt8)
  ) -> String {
    let state =
      generation > 0 ? "written \(generation) times" : isWritten ? "without a valid mark" : "that is never written"
    return "page \(page), \(state): byte \(byte) is 0x\(String(values.found, radix: 16)), "
      + "0x\(String(values.expected, radix: 16)) expected"
  }
}
