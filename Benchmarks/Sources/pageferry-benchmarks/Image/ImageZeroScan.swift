// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// The zero scan over a whole image.
struct ImageZeroScan {
  let image: Region
  let pageCount: Int
  let dataPageCount: Int
  let peer: Peer?

  func run(_ roundCount: Int) {
    let zero = UInt64(pageCount - dataPageCount)
    var passes = KernelTier.available.map { Pass.zeroScan(image, $0, expected: zero) }
    passes.append(.zeroScanByMemcmp(image, expected: zero))
    if let check = peer?.zeroCheck { passes.append(.zeroScan(image, check, expected: zero)) }
    // Reads what a scan does not need to: all of every page.
    passes.append(Pass(label: "read, \(References.readLabel)") { [image] pages, _ in References.read(image, pages) })

    print("\nZero scan of T0")
    let table = Table(columns: [
      .text("by", 20), .figure("ns/page", 9), .figure("covers GB/s", 13), .figure("x scalar", 10), .figure("x peer", 9),
    ])
    table.head()
    let samples = Rounds.measure(passes, pageCount: pageCount, roundCount: roundCount)
    let theirs = passes.firstIndex { $0.label == Peer.label }
    for (index, pass) in passes.enumerated() {
      table.row([
        pass.label, samples.median(index).asNanoseconds,
        (Double(PageGeometry.pageByteCount) / samples.median(index)).decimal(2),
        samples.speedUp(index, over: 0).decimal(2),
        theirs.map { samples.speedUp(index, over: $0).decimal(2) } ?? "",
      ])
    }
  }
}
