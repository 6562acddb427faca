// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel

/// Everything about a guest that does not change while it runs: where its memory is, and what each page has to hold.
@safe final class GuestImage: Sendable {
  let plan: WorkloadPlan
  let pages: GuestPages
  let content: PageContent

  /// - Throws: if this memory is not one that the plan can be carried out in.
  init(_ plan: WorkloadPlan, memory: AnonymousMemory) throws(WorkloadError) {
    try plan.check(guestByteCount: memory.blocks.byteCount)
    self.plan = plan
    pages = GuestPages(memory)
    content = PageContent(plan, guestByteCount: memory.blocks.byteCount)
  }

  var guestByteCount: UInt64 { pages.memory.blocks.byteCount }

  var workingPages: Range<Int> { plan.workingPages(guestByteCount: guestByteCount) }

  /// Writes what memory holds at first, on several threads. Memory is all zero: pages that stay so are not touched.
  func fill() {
    PageSweep.run(over: 0..<pages.pageCount) { [self] _, range in
      let addresses = unsafe pages.addresses
      for page in range where content.initialKind(page) != .zero {
        // SAFETY: the page is one of the guest's; no other thread has it in its range.
        unsafe content.write(page, generation: 0, to: addresses[page])
      }
    }
  }
}
