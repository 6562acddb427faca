// SPDX-License-Identifier: Apache-2.0

/// The hot loop of a guest: writes pages of one thread, one at a time.
///
/// Raw pointers and numbers only: a write allocates nothing, locks nothing and counts no references.
@safe struct PageWriter {
  private let order: PageOrder
  private let content: PageContent
  private let addresses: PageAddresses
  var record: WriterRecord

  /// - Parameter image: must live as long as this value.
  @unsafe init(_ image: GuestImage, thread: Int, record: WriterRecord) {
    order = PageOrder(image.plan, guestByteCount: image.guestByteCount, thread: thread)
    content = image.content
    unsafe addresses = image.pages.addresses
    self.record = record
  }

  /// Writes the page whose turn it is.
  @inline(__always) mutating func writeNext() {
    let number = order.next(&record)
    // SAFETY: the order stays within the working set, which the plan's check keeps within the guest.
    let base = unsafe addresses[number]
    let page = unsafe MarkedPage(at: base, number: number, seed: content.seed)
    // What the page itself says, not what a table of ours does: a page that was lost or is stale stays in the sum.
    let before = page.generation
    let after = before &+ 1
    if content.writesWholePages { unsafe content.write(number, generation: after, to: base) }
    page.mark(after)
    record.sum = record.sum &- page.share(before) &+ page.share(after)
    record.writes &+= 1
  }
}
