// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageKernels
import PageModel

/// `image`: what the kernels and codecs do with the RAM of a real guest, and with what it changed in some seconds.
struct ImageComparison {
  static let usage = """
    usage: pageferry-benchmarks image T0 T1 [OPTION VALUE]...
             T0, T1               raw RAM images of one guest at two times, as perf/guest/capture makes them
             --rounds N           measured rounds, after one that is thrown away (9); five times as many of deltas
             --mebibytes N        at most so much of T0's data goes through the codecs (128)
             --codecs A,B         (\(standardCodecs.joined(separator: ",")))
             --codec-rounds N     rounds of codecs over data (3)
             --peer PATH.so       another project's kernels as well; perf/peers/README.md
    """

  private static let standardCodecs = [
    "none", "lz4:1", "lz4:2", "lz4:8", "zstd:-5", "zstd:-1", "zstd:1", "zstd:3", "zstd:6", "zstd-long:1", "zstd-long:3",
    "deflate:1", "deflate:6",
  ]

  private let paths: [String]
  private let roundCount: Int
  private let codecRoundCount: Int
  private let codecPageCount: Int
  private let codecs: [CodecChoice]
  private let peer: Peer?

  init(_ arguments: some Sequence<String>) throws {
    let options = try Options(arguments, names: ["rounds", "mebibytes", "codecs", "codec-rounds", "peer"])
    guard options.words.count == 2 else { throw UsageError(message: "image takes two images") }
    paths = options.words
    roundCount = try options.number("rounds", default: 9, in: 1...1000)
    codecRoundCount = try options.number("codec-rounds", default: 3, in: 1...1000)
    codecPageCount = try options.number("mebibytes", default: 128, in: 1...1 << 20) * 256
    do {
      codecs = try options.list("codecs", default: Self.standardCodecs).map { try CodecChoice(parsing: $0) }
    } catch let error as CodecError { throw UsageError(message: "--codecs: \(error)") }
    peer = try options.text("peer").map { try Peer(path: $0) }
  }

  func run() throws {
    let (before, pageCount) = try GuestImages.load(paths[0])
    let (changed, data) = try prepare(before, pageCount)
    let dataPageCount = (0..<pageCount).count { !GuestImages.isZero(before, $0) }
    let zeroShare = percent(pageCount - dataPageCount, of: pageCount)
    print("T0: \(pageCount) pages, \(zeroShare) of them zero. Medians of interleaved rounds.")

    ImageZeroScan(image: before, pageCount: pageCount, dataPageCount: dataPageCount, peer: peer).run(roundCount)
    if changed.count > 0 {
      let deltas = try ImageDeltas(changed, peer)
      // A pass over the changed pages takes a millisecond: another process that cuts in makes it many times as long.
      try deltas.run(roundCount * 5, pageCount: pageCount)
      try PackedDeltas(deltas.recorded).run(roundCount * 5)
    } else {
      print("\nNo page holds data in both images and differs: no deltas.")
    }
    guard data.count > 0 else { return print("\nT0 holds no data: nothing for codecs.") }
    try ImageCodecs(pages: data.region, pageCount: data.count, choices: codecs).run(codecRoundCount)
  }

  /// What is needed of T1, which need not stay in memory, and the data pages for the codecs.
  private func prepare(
    _ before: Region, _ pageCount: Int
  ) throws -> (changed: ChangedPages, data: (region: Region, count: Int)) {
    let (after, afterPageCount) = try GuestImages.load(paths[1])
    guard afterPageCount == pageCount else {
      throw UsageError(message: "the images differ in size: \(pageCount) and \(afterPageCount) pages")
    }
    let changed = try ChangedPages(before, after, pageCount: pageCount)
    let numbers = Array((0..<pageCount).lazy.filter { !GuestImages.isZero(before, $0) }.prefix(codecPageCount))
    return (changed, (try ChangedPages.gather(numbers, from: before), numbers.count))
  }
}

/// `5.1 %`.
func percent(_ part: Int, of whole: Int) -> String {
  (Double(part) / Double(max(1, whole)) * 100).decimal(1) + " %"
}
