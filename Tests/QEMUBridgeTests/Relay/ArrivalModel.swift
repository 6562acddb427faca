// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel
import Wire

@testable import QEMUBridge

/// What the guest's memory must hold at the destination, and what of it the hypervisor has not been told: the reference of
/// ``ArrivalDriver``.
final class ArrivalModel {
  let memory: ArrivingMemory
  /// By block and page; nil: it was said to be zeros.
  private var pages: [[[UInt8]?]]
  /// Pages that are to be told.
  private var untold: Set<ChannelModel.Place> = []

  init(_ memory: ArrivingMemory, file: DriverFile?) {
    self.memory = memory
    pages = memory.blocks.blocks.map { Array(repeating: nil, count: $0.pageCount) }
    guard let file, let direct = memory.direct.first else { return }
    let bytes = file.bytes
    for page in stride(from: 0, to: pages[direct].count, by: 2) {
      pages[direct][page] = Array(bytes[page * 4096..<(page + 1) * 4096])
    }
  }

  /// Calls `body` with what a page holds.
  private func withActual<Result>(_ block: Int, _ page: Int, _ body: (RawSpan) -> Result) -> Result {
    let place = DepartingMemory.SpanPlace(block: Int32(block), span: Int32(page / PageGeometry.pagesPerSpan))
    // SAFETY: mapped as long as the memory.
    return body(unsafe RawSpan(_unsafeBytes: memory.page(place, page % PageGeometry.pagesPerSpan)))
  }

  /// Does what a good frame says.
  /// - Parameter data: its pages' bytes; nil, if those are encoded: then what is there is believed.
  func apply(_ body: FrameBody, data: ArraySlice<UInt8>?) {
    var rest = data
    for record in body.records {
      switch record {
      case .zeroRun(let block, let index, let count):
        for page in index * 64..<min((index + count) * 64, pages[block].count) { set(block, page, nil) }
      case .span(let block, let index, let zero, let data, let delta):
        for bit in 0..<64 {
          let (page, mask) = (index * 64 + bit, PageMask(1) << PageMask(bit))
          if zero & mask != 0 { set(block, page, nil) }
          if data & mask != 0, let bytes = rest?.prefix(4096) {
            set(block, page, Array(bytes))
            rest = rest?.dropFirst(4096)
          } else if (data | delta) & mask != 0 {
            set(block, page, withActual(block, page) { $0.copied })
          }
        }
      }
    }
  }

  private func set(_ block: Int, _ page: Int, _ content: [UInt8]?) {
    pages[block][page] = content
    if !memory.direct.contains(block) { untold.insert(ChannelModel.Place(block: block, page: page)) }
  }

  /// What is wrong in memory: anywhere.
  var problem: String? {
    for (block, contents) in pages.enumerated() {
      for (page, content) in contents.enumerated() where !withActual(block, page, { $0.holds(content) }) {
        return "page \(page) of block \(block) holds something else than frames have said"
      }
    }
    return nil
  }

  /// The same, of the file behind it.
  func problem(in file: DriverFile?) -> String? {
    guard let file, let direct = memory.direct.first else { return nil }
    let expected = pages[direct].flatMap { $0 ?? [UInt8](repeating: 0, count: 4096) }
    return file.bytes == expected ? nil : "the hypervisor's memory holds something else than frames have said"
  }

  /// What the hypervisor is to be told now, with what it holds.
  func takeUntold() -> [ChannelModel.Place: [UInt8]?] {
    defer { untold = [] }
    return Dictionary(uniqueKeysWithValues: untold.map { ($0, pages[$0.block][$0.page]) })
  }
}
