// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import PageModel
import SystemPackage

/// The page tables of this process, as `/proc/self/pagemap` shows them. For any thread.
final class Pagemap: Sendable {
  private let descriptor: CInt

  init() throws(Errno) {
    descriptor = hs_pagemap_open()
    guard descriptor >= 0 else { throw Errno(rawValue: -descriptor) }
  }

  deinit { close(descriptor) }

  /// Adds the pages that were written since they were protected, one word per span.
  /// - Parameter rearm: protect each again, in the same step.
  func addWritten(
    _ range: TrackedBlocks.AddressRange, rearm: Bool, to words: inout MutableSpan<UInt64>
  ) throws(Errno) {
    unsafe try fill(range, &words) { start, pageCount, words in
      // SAFETY: there is a word for each span of the range, as checked by `fill`.
      unsafe hs_pagemap_written(descriptor, start, pageCount, rearm ? 1 : 0, words)
    }
  }

  /// Adds the pages that are the kernel's shared page of zeros.
  func addZeroFrames(_ range: TrackedBlocks.AddressRange, to words: inout MutableSpan<UInt64>) throws(Errno) {
    unsafe try fill(range, &words) { start, pageCount, words in
      // SAFETY: as above.
      unsafe hs_pagemap_zero_frames(descriptor, start, pageCount, words)
    }
  }

  /// Adds the pages that are in memory. Needs no page tables, but answers in the same form.
  static func addResident(_ range: TrackedBlocks.AddressRange, to words: inout MutableSpan<UInt64>) throws(Errno) {
    unsafe try fill(range, &words) { start, pageCount, words in
      // SAFETY: as above.
      unsafe hs_resident_pages(start, pageCount, words)
    }
  }
}

/// Has the kernel fill in a bitmap of a range.
private func fill(
  _ range: TrackedBlocks.AddressRange, _ words: inout MutableSpan<UInt64>,
  _ call: (UInt, Int, UnsafeMutablePointer<UInt64>?) -> CInt
) throws(Errno) {
  precondition(range.pageCount <= words.count * PageGeometry.pagesPerSpan, "a bitmap too small for its range")
  let status = unsafe words.withUnsafeMutableBufferPointer { unsafe call(range.start, range.pageCount, $0.baseAddress) }
  guard status == 0 else { throw Errno(rawValue: -status) }
}
