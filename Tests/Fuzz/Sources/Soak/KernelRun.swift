// SPDX-License-Identifier: Apache-2.0
import Glibc
import KernelSoak
import PageKernels
import Synchronization

/// Two threads that take batches of page pairs through the delta kernels, and one that says how far they are.
final class KernelRun: Sendable {
  /// What was wrong, in a sentence, and the pages that show it.
  struct Mismatch: Sendable {
    let description: String
    let base: [UInt8]
    let page: [UInt8]
  }

  private static let workerCount = 2
  private static let batchPairCount = UInt64(SOAK_BATCH_PAIRS)

  private let options: Options
  private let started = KernelRun.now()
  private let nextBatch = Atomic<UInt64>(0)
  private let pairs = Atomic<UInt64>(0)
  private let runningWorkers = Atomic<Int>(KernelRun.workerCount)
  private let found = Mutex<Mismatch?>(nil)

  init(_ options: Options) { self.options = options }

  /// Pairs that were taken through all tiers.
  var pairCount: UInt64 { pairs.load(ordering: .relaxed) }

  func run() -> Mismatch? {
    Threads.run(Self.workerCount + 1) { thread in
      if thread < Self.workerCount {
        self.work()
        self.runningWorkers.subtract(1, ordering: .relaxed)
      } else {
        self.reportProgress()
      }
    }
    return found.withLock { $0 }
  }

  private func work() {
    var base = [UInt8](repeating: 0, count: 4096)
    var page = base
    while found.withLock({ $0 == nil }), !isTimeUp {
      let batch = nextBatch.add(1, ordering: .relaxed).oldValue
      let first = batch * Self.batchPairCount
      let count = min(Self.batchPairCount, (options.pairCount ?? .max) - min(first, options.pairCount ?? .max))
      guard count > 0 else { return }
      var mismatch = unsafe soak_mismatch()
      // SAFETY: the pages are as large as the loop expects, and the pointers are not used after the call.
      let isRight = unsafe base.withUnsafeMutableBufferPointer { base in
        unsafe page.withUnsafeMutableBufferPointer { page in
          unsafe (mismatch.base, mismatch.page) = (base.baseAddress, page.baseAddress)
          return unsafe soak_batch(options.seed, batch, UInt32(count), &mismatch)
        }
      }
      guard isRight else {
        let description = unsafe sentence(mismatch, pair: first + UInt64(mismatch.pair))
        found.withLock { $0 = $0 ?? Mismatch(description: description, base: base, page: page) }
        return
      }
      pairs.add(count, ordering: .relaxed)
    }
  }

  private func sentence(_ mismatch: soak_mismatch, pair: UInt64) -> String {
    let tier = unsafe KernelTier(rawValue: mismatch.tier)?.description ?? "?"
    let (what, kind) = unsafe (String(cString: mismatch.what), String(cString: mismatch.kind))
    let place = "mismatch: \(tier), \(what); changed: \(kind); seed \(options.seed), pair \(pair)"
    guard unsafe mismatch.found != mismatch.expected else { return place }
    let (found, expected) = unsafe (Self.result(mismatch.found), Self.result(mismatch.expected))
    return "\(place); capacity \(unsafe mismatch.capacity), result \(found), expected \(expected)"
  }

  private static func result(_ number: UInt32) -> String { number == .max ? "overflow" : "\(number) bytes" }

  private func reportProgress() {
    var reported = started
    while runningWorkers.load(ordering: .relaxed) > 0 {
      usleep(20_000)
      let now = Self.now()
      guard now - reported >= 5 else { continue }
      reported = now
      let rate = pairCount / 1000 / max(1, now - started)
      print("\(pairCount / 1000) k pairs, \(rate) k pairs/s")
      fflush(nil)
    }
  }

  private var isTimeUp: Bool { options.seconds.map { Self.now() - started >= $0 } ?? false }

  /// Seconds of the clock that nobody sets.
  private static func now() -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec)
  }
}
