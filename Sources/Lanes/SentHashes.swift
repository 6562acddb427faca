// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import SystemPackage

/// What a lane's pages were when they were last sent, as hashes: to tell a page that was written but did not change.
///
/// A hash is kept under the session's seed. Two different pages have the same one with a chance of 2⁻⁶⁴. Eight bytes a
/// page, 0.2 % of the lane's share of guest memory. Belongs to the lane's thread.
struct SentHashes: ~Copyable {
  /// Nothing is known of the page. Fresh memory is zero, so this is what all pages begin with.
  static let unknown: UInt64 = 0
  /// The page was sent as zero.
  static let zero: UInt64 = 1

  private var buffer: PageBuffer

  /// - Parameter pageCount: the lane's pages, which are numbered from 0.
  init(pageCount: Int) throws(Errno) {
    buffer = try PageBuffer(byteCount: max(1, pageCount) * MemoryLayout<UInt64>.size)
  }

  /// A page's hash as it is kept: the two values with a meaning of their own are not used for others.
  static func kept(_ hash: UInt64) -> UInt64 { max(hash, 2) }

  subscript(page: Int) -> UInt64 {
    get { buffer.withBytes(page * 8..<page * 8 + 8) { $0.word } }
    set { buffer.withMutableBytes(page * 8..<page * 8 + 8) { $0.setWord(newValue) } }
  }
}

extension RawSpan {
  fileprivate var word: UInt64 { unsafe withUnsafeBytes { unsafe $0.load(as: UInt64.self) } }
}

extension MutableRawSpan {
  fileprivate mutating func setWord(_ value: UInt64) {
    unsafe withUnsafeMutableBytes { unsafe $0.storeBytes(of: value, as: UInt64.self) }
  }
}
