// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Migration
import PageModel
import Synchronization
import Transport

@testable import QEMUBridge

/// Feeds any bytes to a ``DepartingChannel`` as its hypervisor's, and checks what becomes of them: which pages are there and
/// what they hold, what is counted, what goes on at barriers, and how it ends. Shared by the corpus tests and the fuzzers.
///
/// A driver returns nil if all is well, and otherwise a sentence that says what was wrong.
enum ChannelDriver {
  /// Two spans, the last of them a part; a few pages, under the longest name; one page.
  static let blocks: [StreamBlock] = [
    StreamBlock(nameBytes: Array("pc.ram".utf8), byteCount: 70 * 4096),
    StreamBlock(nameBytes: Array(repeating: 0x6e, count: 255), byteCount: 3 * 4096),
    StreamBlock(nameBytes: Array("pc.bios".utf8), byteCount: 4096),
  ]

  static func run(_ input: [UInt8]) -> String? {
    let model = ChannelModel(input, blocks: blocks)
    guard let sockets = DriverSockets(), (try? sockets.far.send(input)) != nil else { return "no sockets" }
    sockets.far.finishSending()
    guard let table = try? RelaySource.table(blocks),
      let memory = try? DepartingMemory(table, keepsAll: false, isShared: true)
    else { return "no memory" }
    let news = ParkingSpot()
    let stream = DepartingStream(RelayWindow(), news: news, warn: { _ in })
    let pages = ChannelPages(memory, blocks: blocks, window: stream.window, news: news, stream: stream)
    return glances(input) ?? carry(sockets.near, pages, model)
      ?? counts(pages, stream.statistics, readByteCount: sockets.near.receivedByteCount, model)
      ?? contents(memory, model)
  }

  /// What a channel's first bytes have said does not change as more of them come.
  private static func glances(_ input: [UInt8]) -> String? {
    var last = MultifdGlance.coming
    for count in [0, 7, 8, 64, 1407, 1408, 1443, 1444, input.count] {
      let glance = MultifdGlance(input.prefix(count))
      switch last {
      case .plain, .opaque: guard glance == last else { return "a glance changes with further bytes" }
      case .coming, .idle: last = glance
      }
    }
    return nil
  }

  // MARK: The channel

  /// Reads the channel, beside a stream that comes to as many barriers as it should.
  private static func carry(_ connection: Connection, _ pages: ChannelPages, _ model: ChannelModel) -> String? {
    let gate = MultifdGate(patience: .zero)
    guard let number = try? gate.enrol() else { return "a channel is not let in" }
    gate.note(.plain, of: number)
    guard gate.decide(channels: 1, refusal: nil) == .pages else { return "pages are not taken apart" }
    gate.open(pages)
    let stream = StreamBeside(gate, barriers: max(0, model.barriers.count - 1), isWhole: model.isWhole)
    var passed: [[UInt8]] = []
    var failure: MigrationFailure?
    do throws(MigrationFailure) {
      try DepartingChannel(hypervisor: connection, gate: gate).run { passed.append($0) }
    } catch { failure = error }
    // If the stream still waits it has waited for nothing.
    gate.fail(MigrationFailure(.internal, "the driver is over"))
    guard stream.hasMetAll() else { return "the channel has not come to the stream's barriers" }
    if model.isWhole, let failure { return "a good channel is refused: \(failure)" }
    if !model.isWhole {
      guard let failure, failure.code == .hypervisorFailed else { return "a bad channel ends as if it were good" }
      if let problem = DriverText.problem(in: failure.reason) { return problem }
    }
    return passed == barriers(model) ? nil : "other packets are passed on than for barriers"
  }

  /// What is to go on: a barrier's packet without anything about pages, once for each that the stream asks for.
  private static func barriers(_ model: ChannelModel) -> [[UInt8]] {
    model.barriers.dropFirst().enumerated().flatMap { number, head in
      let bare = head.enumerated().map { at, byte in
        (16..<24).contains(at) || (32..<36).contains(at) || at >= 64 ? 0 : byte
      }
      return Array(repeating: bare, count: StreamBeside.passing(number))
    }
  }

  /// The stream that the channel belongs to, on a thread of its own.
  private final class StreamBeside: Sendable {
    private let failed = Atomic<Bool>(false)
    private let thread: Mutex<HostThread?>

    /// - Parameters:
    ///   - barriers: that it comes to, behind its beginning.
    ///   - isWhole: whether RAM ends behind them, so that channels may.
    init(_ gate: MultifdGate, barriers: Int, isWhole: Bool) {
      thread = Mutex(nil)
      guard barriers > 0 else {
        if isWhole { gate.complete() }
        return
      }
      let started = HostThread(name: "driver-stream") { [self] in
        do throws(MigrationFailure) {
          for number in 0..<barriers { try gate.arrive(passing: Self.passing(number)) }
          if isWhole { gate.complete() }
        } catch { failed.store(true, ordering: .releasing) }
      }
      thread.withLock { $0 = started }
    }

    static func passing(_ barrier: Int) -> Int { barrier % 3 }

    /// Waits for its end.
    func hasMetAll() -> Bool {
      let running = thread.withLock { thread -> HostThread? in
        defer { thread = nil }
        return thread
      }
      running?.join()
      return !failed.load(ordering: .acquiring)
    }
  }

  // MARK: What is left

  private static func counts(
    _ pages: ChannelPages, _ counted: DepartingStream.Counters, readByteCount: UInt64, _ model: ChannelModel
  ) -> String? {
    guard pages.stored.load(ordering: .relaxed) == UInt64(model.doneByteCount) else {
      return "bytes are counted wrongly"
    }
    guard pages.window.use.taken == readByteCount else { return "room is not given back" }
    guard counted.pages == UInt64(model.countedPages), counted.zeroPages == UInt64(model.countedZeroPages) else {
      return "pages are counted wrongly"
    }
    let superseded = pages.memory.supersededPages.load(ordering: .relaxed)
    return superseded == UInt64(model.storeCount - model.pages.count) ? nil : "overtaken pages are counted wrongly"
  }

  private static func contents(_ memory: DepartingMemory, _ model: ChannelModel) -> String? {
    guard memory.heldByteCount == model.filled.count * 4096 else { return "memory is taken for other pages than came" }
    guard memory.collect(for: 1) == model.pages.count else { return "other pages are to be sent than came" }
    for (block, declared) in blocks.enumerated() {
      for page in 0..<Int(declared.byteCount) / 4096 {
        let content = model.pages[ChannelModel.Place(block: block, page: page)]
        let isPending = memory.pending[block].pages(span: page / 64) & 1 << UInt64(page % 64) != 0
        guard isPending == (content != nil) else { return "other pages are to be sent than came" }
        let isRight = memory.pool.withPage(block: block, page: page) { $0.holds(content.flatMap { $0 }) }
        guard isRight else { return "page \(page) of block \(block) holds something else than came" }
      }
    }
    memory.release(upTo: 1)
    guard memory.heldByteCount == 0 else { return "what is confirmed is not given back" }
    let isEmpty = memory.pool.withPage(block: 0, page: 0) { $0.holds(nil) }
    return isEmpty ? nil : "what is not there does not read as zeros"
  }
}
