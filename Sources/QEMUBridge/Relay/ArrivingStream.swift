// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import PageModel
import Synchronization
import SystemPackage
import Transport

/// The destination hypervisor's stream, made anew: what is no page as it came, and around the pages that have arrived
/// sections of their own. Orders are carried out one after the other, by a thread of its own: the hypervisor may take its
/// time.
final class ArrivingStream: Sendable {
  enum Order: Sendable {
    /// Every page of this iteration, and those before, has arrived.
    case tell(iteration: UInt32)
    case pass([UInt8])
    /// Nothing more will come.
    case end
    /// No more orders are carried out.
    case stop
  }

  private let hypervisor: Connection
  private let memory: ArrivingMemory?
  private let blocks: [StreamBlock]
  private let section: UInt32
  private let hasFooters: Bool
  /// The stream's beginning has left a section open: pages go into that one.
  private let isOpen: Bool
  private let orders = Mailbox<Order>()
  private let done = Mutex(Done())

  /// How far it is.
  struct Done: Sendable {
    /// The last iteration whose pages the hypervisor has, and bytes that it was passed.
    var iteration: UInt32 = 0
    var passed: UInt64 = 0
    var written: UInt64 = 0
    var isEnded = false
  }

  /// - Parameters:
  ///   - memory: what pages are taken from; nil: none will come.
  ///   - opening: what the stream has declared.
  init(_ hypervisor: Connection, memory: ArrivingMemory?, opening: StreamOpening?) {
    self.hypervisor = hypervisor
    self.memory = memory
    blocks = opening?.blocks ?? []
    section = opening?.section ?? 0
    hasFooters = opening?.hasFooters ?? true
    isOpen = opening?.isOpen ?? false
  }

  var progress: Done { done.withLock { $0 } }

  /// Any thread.
  func order(_ order: Order) { orders.post(order) }

  /// Carries out orders until the end, or until something fails; the body of a thread.
  /// - Parameter onProgress: called after each order.
  func run(_ onProgress: @Sendable () -> Void) throws(TransportError) {
    var writer = try makeWriter()
    while let order = orders.next(), try carryOut(order, with: &writer) { onProgress() }
  }

  /// What orders are carried out with.
  func makeWriter() throws(TransportError) -> StreamWriter {
    do throws(Errno) {
      var writer = try StreamWriter(hypervisor)
      writer.declare(blocks, pageByteCount: PageGeometry.pageByteCount)
      return writer
    } catch { throw .failed(error) }
  }

  /// - Returns: false if there are to be no more.
  func carryOut(_ order: Order, with writer: inout StreamWriter) throws(TransportError) -> Bool {
    switch order {
    case .tell(let iteration):
      try tell(&writer)
      done.withLock { $0.iteration = iteration }
    case .pass(let bytes):
      try hypervisor.send(bytes)
      done.withLock { $0.passed += UInt64(bytes.count) }
    case .end:
      hypervisor.finishSending()
      done.withLock { $0.isEnded = true }
    case .stop: return false
    }
    done.withLock { $0.written = hypervisor.sentByteCount }
    return true
  }

  /// Wakes a thread that waits for an order, and has it end.
  func stop() { orders.post(.stop) }

  private func tell(_ writer: inout StreamWriter) throws(TransportError) {
    guard let memory else { return }
    let spans = memory.takeTouched()
    guard !spans.isEmpty else { return }
    if !isOpen { try writer.section(.part, id: section) }
    for place in spans {
      let (pages, zero) = memory.take(place)
      let block = Int(place.block)
      let base = UInt64(place.span) * UInt64(PageGeometry.spanByteCount)
      var rest = pages
      while rest != 0 {
        let page = rest.trailingZeroBitCount
        rest &= rest &- 1
        let offset = base + UInt64(page * PageGeometry.pageByteCount)
        if zero & 1 << PageMask(page) != 0 {
          try writer.zero(block: block, offset: offset)
        } else {
          // SAFETY: mapped as long as the memory, and flushed before this returns.
          try unsafe writer.page(block: block, offset: offset, inPlace: memory.page(place, page))
        }
      }
    }
    if !isOpen {
      try writer.endOfRecords()
      if hasFooters { try writer.footer(id: section) }
    }
    try writer.flush()
  }
}

/// What a stream's beginning has declared.
struct StreamOpening: Sendable {
  var blocks: [StreamBlock]
  var section: UInt32
  var hasFooters: Bool
  var hasReturnPath = false
  /// The number of the ping that the destination will answer, if there is one.
  var ping: UInt32?
  var advisesPostcopy = false
  /// It ends behind the head of a section, which all pages go into: what ends that is passed on later.
  var isOpen = false

  /// Reads it from what the other half has passed on, which may be anything.
  init(parsing bytes: [UInt8]) throws(StreamError) {
    var reader = try StreamReader(MemorySource(bytes))
    (blocks, section, hasFooters) = ([], 0, false)
    do throws(StreamError) {
      while let element = try reader.next() {
        isOpen = false
        switch element.kind {
        case .section(.part, _): isOpen = element.offset + UInt64(element.byteCount) == UInt64(bytes.count)
        case .command(.openReturnPath): hasReturnPath = true
        case .command(.ping(let number)): ping = number
        case .command(.postcopyAdvise): advisesPostcopy = true
        case .footer: hasFooters = true
        default: break
        }
      }
    } catch .truncated(_, .betweenSections) where reader.ramSection != nil {
      // It ends where pages begin.
    } catch .truncated(_, .footer) where reader.offset == UInt64(bytes.count) {
      // To very old machines a section has none.
    } catch .truncated(_, .record) where isOpen {
      // Or with the section that has them.
    }
    guard let section = reader.ramSection, reader.opaqueCause == nil else {
      throw .truncated(offset: reader.offset, inside: .sectionHeader)
    }
    blocks = reader.blocks
    self.section = section
  }
}
