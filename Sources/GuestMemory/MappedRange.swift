// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import SystemPackage

/// Memory of this process, unmapped by hand: what a block of ``AnonymousMemory`` is made of.
@safe struct MappedRange: @unchecked Sendable {
  /// First byte, page-aligned.
  @unsafe let base: UnsafeMutableRawPointer
  let byteCount: Int

  /// Maps zeroed memory, nil if the kernel refuses.
  init?(byteCount: Int) {
    guard let base = unsafe hs_map_anonymous(byteCount) else { return nil }
    unsafe self.base = base
    self.byteCount = byteCount
  }

  /// Maps the whole of a new memfd, shared; nil if the kernel refuses. The mapping alone keeps the file alive.
  init?(sharing byteCount: Int) {
    guard let base = unsafe hs_map_memfd(byteCount) else { return nil }
    unsafe self.base = base
    self.byteCount = byteCount
  }

  /// Maps the beginning of a file, shared; nil if the kernel refuses. The file stays the caller's.
  init?(_ file: FileDescriptor, byteCount: Int) {
    guard let base = unsafe hs_map_shared(file.rawValue, byteCount) else { return nil }
    unsafe self.base = base
    self.byteCount = byteCount
  }

  /// Gives the memory back; nothing may use it afterwards.
  func unmap() { _ = unsafe hs_unmap(base, byteCount) }

  /// Asks for transparent huge pages. Refused where the kernel was built without them: then pages are small, and
  /// that is all.
  func adviseHugePages() { _ = unsafe hs_advise_huge_pages(base, byteCount) }

  /// Faults in `range`, content unchanged.
  /// - Returns: false if the kernel refuses (too old, no memory); pages then fault when they are written.
  func populate(_ range: Range<Int>) -> Bool {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "range leaves the mapping")
    return unsafe hs_populate_write(base + range.lowerBound, range.count) == 0
  }
}
