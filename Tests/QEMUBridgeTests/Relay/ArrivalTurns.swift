// SPDX-License-Identifier: Apache-2.0
import Transport
import Wire

@testable import Migration
@testable import QEMUBridge

/// What the other half's messages and lanes' marks have the hypervisor get, and when.
final class ArrivalTurns {
  private let stream: ArrivingStream
  private let hypervisor: Connection
  private var orders: ArrivingOrders
  private var writer: StreamWriter
  /// Orders that are due and not carried out, and those that were.
  private var due: [(order: ArrivingStream.Order, complete: Int)] = []
  private var carried: [(ArrivingStream.Order, byteCount: Int, untold: [ChannelModel.Place: [UInt8]?])] = []
  /// Iterations that each lane has ended.
  private var marks: [Int]
  /// What has come, in order: bytes, or the end.
  private var said: [(after: Int, bytes: [UInt8]?)] = []
  private var passedCount = 0
  private var isOver = false

  /// Nil if there is no memory for it.
  init?(_ stream: ArrivingStream, hypervisor: Connection, hello: ControlMessage.Hello) {
    do throws(TransportError) { writer = try stream.makeWriter() } catch { return nil }
    (self.stream, self.hypervisor) = (stream, hypervisor)
    orders = ArrivingOrders(laneCount: hello.laneCount)
    marks = Array(repeating: 0, count: hello.laneCount)
  }

  func note(lane: Int, iteration: UInt32) throws(MigrationFailure) {
    marks[lane] += 1
    _ = try orders.note(lane: lane, iteration: iteration)
    collect()
  }

  /// Takes what is due, and notes how many iterations were complete then.
  private func collect() {
    let complete = marks.min() ?? 0
    due += orders.take().map { ($0, complete) }
  }

  /// - Returns: false once the session is over.
  func hear(_ message: ControlMessage, peer: String) throws(MigrationFailure) -> Bool {
    switch message {
    case .relay(let relay):
      orders.add(relay)
      said.append((Int(relay.afterIteration), relay.bytes))
    case .relayEnd(let after):
      orders.end(after: after)
      said.append((Int(after), nil))
    case .heartbeat: break
    default: return false
    }
    collect()
    try orders.check(stream.progress, peer: peer)
    return true
  }

  /// Carries out what is due.
  func take(_ model: ArrivalModel?) -> String? {
    guard !isOver else { return nil }
    for (order, complete) in due {
      switch order {
      case .tell(let iteration):
        guard iteration <= complete else { return "an iteration is told before it is complete" }
      case .pass, .end:
        guard passedCount < said.count, said[passedCount].after <= complete else {
          return "bytes are passed on before the pages that come before them"
        }
        passedCount += 1
      case .stop: return "a peer stops what orders are carried out with"
      }
      var untold: [ChannelModel.Place: [UInt8]?] = [:]
      if case .tell = order { untold = model?.takeUntold() ?? [:] }
      let before = hypervisor.sentByteCount
      do throws(TransportError) {
        guard try stream.carryOut(order, with: &writer) else { return "an order ends the stream" }
      } catch {
        // Behind the end nothing can be said.
        isOver = true
        return stream.progress.isEnded ? nil : "the hypervisor cannot be told: \(error)"
      }
      carried.append((order, Int(hypervisor.sentByteCount - before), untold))
    }
    due = []
    if passedCount < said.count, said[passedCount].after <= marks.min() ?? 0 {
      return "bytes are kept back for no reason"
    }
    return nil
  }

  // MARK: What the hypervisor got

  /// - Parameter first: what came before the first order.
  func problem(in bytes: [UInt8], after first: [UInt8], _ opening: StreamOpening?) -> String? {
    guard bytes.starts(with: first) else { return "the stream does not begin as it came" }
    var at = first.count
    var passed = 0
    var reader = ToldPages(opening)
    for (order, byteCount, untold) in carried {
      guard bytes.count - at >= byteCount else { return "the hypervisor has not got all" }
      let part = bytes[at..<at + byteCount]
      at += byteCount
      switch order {
      case .tell:
        guard reader.read(part) == untold else { return "the hypervisor is told of other pages than came" }
      case .pass:
        guard let said = said[passed].bytes, part.elementsEqual(said) else { return "bytes change on the way" }
        passed += 1
      case .end, .stop:
        guard byteCount == 0, said[passed].bytes == nil else { return "bytes change on the way" }
        passed += 1
      }
    }
    return at == bytes.count ? nil : "the hypervisor gets more than was said"
  }
}

/// Reads sections of page records, the obvious way.
struct ToldPages {
  private let opening: StreamOpening?
  private var block: Int?

  init(_ opening: StreamOpening?) { self.opening = opening }

  /// - Returns: pages by place, nil for zeros; nil if it is not one section with each of them once, or nothing.
  mutating func read(_ section: ArraySlice<UInt8>) -> [ChannelModel.Place: [UInt8]?]? {
    guard let opening else { return section.isEmpty ? [:] : nil }
    var rest = section
    guard !rest.isEmpty else { return [:] }
    if !opening.isOpen, number(&rest, 1) != 2 || number(&rest, 4) != Int(opening.section) { return nil }
    var pages: [ChannelModel.Place: [UInt8]?] = [:]
    while !rest.isEmpty {
      guard let word = number(&rest, 8) else { return nil }
      if word == 0x10 {
        guard !opening.isOpen else { return nil }
        let isWhole = !opening.hasFooters || number(&rest, 1) == 0x7e && number(&rest, 4) == Int(opening.section)
        return isWhole && rest.isEmpty ? pages : nil
      }
      guard let place = place(word, &rest, opening), pages[place] == nil else { return nil }
      switch word & 0xfdf {
      case 2:
        guard number(&rest, 1) == 0 else { return nil }
        pages[place] = .some(nil)
      case 8:
        guard rest.count >= 4096 else { return nil }
        let page = Array(rest.prefix(4096))
        pages[place] = page
        rest = rest.dropFirst(4096)
      default: return nil
      }
    }
    return opening.isOpen ? pages : nil
  }

  private mutating func place(
    _ word: Int, _ rest: inout ArraySlice<UInt8>, _ opening: StreamOpening
  ) -> ChannelModel.Place? {
    if word & 0x20 == 0 {
      guard let count = number(&rest, 1), rest.count >= count else { return nil }
      block = opening.blocks.firstIndex { $0.nameBytes[...] == rest.prefix(count) }
      rest = rest.dropFirst(count)
    }
    guard let block, word & ~0xfff < Int(opening.blocks[block].byteCount) else { return nil }
    return ChannelModel.Place(block: block, page: word >> 12)
  }

  private func number(_ rest: inout ArraySlice<UInt8>, _ count: Int) -> Int? {
    guard rest.count >= count else { return nil }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
  }
}
