// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// Whether a peer's kernels do what ours do: a time means nothing otherwise.
struct PeerCheck {
  private let peer: Peer
  private let delta: Pages
  private let page: Pages
  /// Pages that the peer found too long for a delta although ours fits, which is its right.
  private(set) var givenUpCount = 0

  init(_ peer: Peer) throws {
    self.peer = peer
    delta = try Pages(count: 2)
    page = try Pages(count: 1)
  }

  /// Pages of every kind that the benchmarks know.
  mutating func samples() throws {
    try zeroPages()
    for shape in DeltaShape.allCases {
      let pairs = try DeltaPairs(shape)
      for number in 0..<DeltaPairs.count {
        try pairs.base.read { base in
          try pairs.page.read { page in
            try pair(
              base.extracting(number.bytesOfPage), page.extracting(number.bytesOfPage),
              "page \(number) of the sample \(shape.rawValue)")
          }
        }
      }
    }
  }

  /// A zero page, and every page with one set byte.
  private func zeroPages() throws {
    guard let isZero = peer.zeroCheck else { return }
    let page = try Pages(count: 1)
    guard page.read({ isZero($0) }) else { throw PeerError(message: "the peer does not know a zero page for one") }
    for offset in 0..<PageGeometry.pageByteCount {
      page.fill { $0.storeBytes(of: 0x80, toByteOffset: offset, as: UInt8.self) }
      let isWrong = page.read { isZero($0) }
      page.fill { $0.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self) }
      if isWrong { throw PeerError(message: "the peer takes a page for zero whose byte \(offset) is set") }
    }
  }

  /// Its delta must lead where ours leads, and it must follow ours.
  mutating func pair(_ base: RawSpan, _ page: RawSpan, _ name: String) throws {
    let capacity = PageGeometry.pageByteCount
    if let encode = peer.encoder {
      let ours = encoded(base, page)
      switch delta.write({ encode(from: base, to: page, into: &$0, capacity: capacity) }) {
      case .unchanged:
        guard base.hasSameBytes(as: page) else { throw PeerError(message: "the peer takes \(name) for unchanged") }
      case .overflow:
        if ours != .overflow { givenUpCount += 1 }
      case .delta(let byteCount):
        guard byteCount <= capacity else {
          throw PeerError(message: "the peer wrote \(byteCount) bytes for \(name), and may write \(capacity)")
        }
        guard leads(byteCount, from: base, to: page, { try? Delta.apply($0, to: &$1) }) else {
          throw PeerError(message: "the peer's delta of \(name) does not lead to that page")
        }
      }
    }
    if let decode = peer.decoder, case .delta(let byteCount) = encoded(base, page) {
      guard leads(byteCount, from: base, to: page, { _ = decode($0, to: &$1) }) else {
        throw PeerError(message: "the peer does not decode our delta of \(name) to that page")
      }
    }
  }

  /// Leaves our delta in `delta`.
  private func encoded(_ base: RawSpan, _ page: RawSpan) -> Delta.Result {
    delta.write { Delta.encode(from: base, to: page, into: &$0, capacity: PageGeometry.pageByteCount) }
  }

  /// Whether what is in `delta` turns `base` into `target`.
  private func leads(
    _ byteCount: Int, from base: RawSpan, to target: RawSpan, _ apply: (RawSpan, inout MutableRawSpan) -> Void
  ) -> Bool {
    page.fill { page in
      page.copyBytes(of: base)
      delta.read { apply($0.extracting(0..<byteCount), &page) }
    }
    return page.read { $0.hasSameBytes(as: target) }
  }
}
