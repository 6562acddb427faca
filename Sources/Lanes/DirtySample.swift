// SPDX-License-Identifier: Apache-2.0
public import PageModel
import Synchronization

/// Stripes of guest memory, spread evenly, by which the guest's rate of writing is judged.
///
/// Whoever has the log forget one of them (a lane that is about to read it, or the one who measures) says how many pages
/// were written there.
public final class DirtySample: Sendable {
  public struct Stripe: Sendable, Equatable {
    public var block: Int
    public var spans: Range<Int>
  }

  /// Fewer would say too little.
  private static let stripeCountMin = 32

  public let stripes: [Stripe]
  /// Pages of guest memory per page of the sample.
  public let scale: Double
  /// Every how many stripes one belongs to the sample, counted in each block.
  private let stride: Int
  private let found = Atomic<UInt64>(0)

  /// - Parameters:
  ///   - stripeCountMax: stripes in all, or one of each block if there are more blocks.
  ///   - shareMax: at most one of so many, but of a small guest more.
  public init(_ blocks: BlockTable, stripeCountMax: Int, shareMax: Int) {
    let total = blocks.blocks.reduce(0) { $0 + Self.stripeCount($1) }
    let stride = max(min(shareMax, total / Self.stripeCountMin), (total + stripeCountMax - 1) / stripeCountMax, 1)
    // In the middle of its stretch, so that a small block has one, too.
    let offsets = blocks.blocks.map { min(stride / 2, max(0, Self.stripeCount($0) / 2)) }
    var stripes: [Stripe] = []
    var pages = 0
    for (index, block) in blocks.blocks.enumerated() {
      for stripe in Swift.stride(from: offsets[index], to: Self.stripeCount(block), by: stride) {
        let first = stripe * PageGeometry.spansPerStripe
        let spans = first..<min(first + PageGeometry.spansPerStripe, block.spanCount)
        stripes.append(Stripe(block: index, spans: spans))
        for span in spans { pages += blocks.pages(block: index, span: span).nonzeroBitCount }
      }
    }
    self.stride = stride
    self.offsets = offsets
    self.stripes = stripes
    scale = Double(blocks.pageCount) / Double(max(1, pages))
  }

  /// The first stripe of each block that belongs to the sample.
  private let offsets: [Int]

  private static func stripeCount(_ block: RAMBlock) -> Int {
    (block.spanCount + PageGeometry.spansPerStripe - 1) / PageGeometry.spansPerStripe
  }

  /// Whether the stripe that begins with `span` belongs to it.
  func contains(block: Int, span: Int) -> Bool {
    let stripe = span / PageGeometry.spansPerStripe
    return stripe >= offsets[block] && (stripe - offsets[block]).isMultiple(of: stride)
  }

  /// Adds pages that were written in one of the stripes since the log last forgot it.
  public func note(_ count: Int) { found.add(UInt64(count), ordering: .relaxed) }

  /// Pages found so far, each as often as it was written anew.
  public var foundPages: UInt64 { found.load(ordering: .relaxed) }
}
