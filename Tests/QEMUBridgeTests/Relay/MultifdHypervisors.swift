// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// A source hypervisor with multifd: what it sends on its connections, and what that means.
///
/// Between two barriers every page is sent once, on any connection; of versions on both sides of a barrier the later counts.
struct MultifdSource {
  struct Way: Sendable, CustomTestStringConvertible {
    var channels = 2
    /// Barriers are records of their own, and zero pages come in packets (QEMU 9); or every section's end is one.
    var flushes = true
    var zeroInPackets = true
    var hasFooters = true
    /// What stands before the last section.
    var command: [UInt8] = []
    var testDescription: String {
      "\(channels) channels, \(flushes ? "flushes" : "sections"), zero pages in \(zeroInPackets ? "packets" : "the stream")"
    }
  }

  let way: Way
  var stream: [UInt8] = []
  var channels: [[UInt8]]
  private(set) var memory = ScriptedSource.pageCounts.map { [UInt8](repeating: 0, count: $0 * 4096) }
  private(set) var state: [UInt8]
  /// Bytes of the stream that are sent before pages are; the footer behind them waits for those.
  private(set) var streamHead = 0
  private var random: SeededGenerator
  private var number: UInt64 = 0

  init(_ way: Way, seed: UInt64, rounds: Int = 30) {
    self.way = way
    random = SeededGenerator(seed: seed)
    state = []
    channels = (0..<way.channels).map { id in
      Bytes().be(UInt32(0x1122_3344)).be(UInt32(1)).raw(Array(repeating: 5, count: 16)).be(UInt8(id))
        .raw(Array(repeating: 0, count: 39)).bytes
    }
    begin()
    for round in 0...rounds { section(3 - (round < rounds ? 1 : 0), isFirst: round == 0) }
    state = [4] + random.bytes(ScriptedSource.stateByteCount - 1)
    stream += state
  }

  private var footer: [UInt8] { way.hasFooters ? [0x7e, 0, 0, 0, 2] : [] }

  private mutating func begin() {
    var plain = ScriptedSource(seed: 0)
    plain.hasReturnPath = true
    stream = Array(plain.opening.dropLast(13))
    synchronize()
    if way.flushes { stream += [0, 0, 0, 0, 0, 0, 2, 0] }
    stream += [0, 0, 0, 0, 0, 0, 0, 0x10]
    streamHead = stream.count
    stream += footer
  }

  /// Pages, in packets and records, and barriers between some of them.
  private mutating func section(_ kind: UInt8, isFirst: Bool) {
    if kind == 3 { stream += way.command }
    stream += [kind, 0, 0, 0, 2]
    var last = -1
    for _ in 0..<(way.flushes ? Int.random(in: 1...3, using: &random) : 1) {
      var pages: [(block: Int, page: Int)] = []
      for (block, count) in ScriptedSource.pageCounts.enumerated() {
        let some = isFirst ? Array(0..<count) : Array((0..<min(count, 80)).shuffled(using: &random).prefix(40))
        pages += some.map { (block, $0) }
      }
      while let first = pages.first {
        let count = min(pages.count, Int.random(in: 1...128, using: &random))
        let packet = pages.prefix(count).filter { $0.block == first.block }
        pages.removeFirst(packet.count)
        last = send(first.block, packet.map(\.page), last)
      }
      if way.flushes {
        synchronize()
        stream += [0, 0, 0, 0, 0, 0, 2, 0]
      }
    }
    if !way.flushes { synchronize() }
    stream += [0, 0, 0, 0, 0, 0, 0, 0x10] + footer
  }

  /// - Returns: the block of the stream's last record.
  private mutating func send(_ block: Int, _ pages: [Int], _ last: Int) -> Int {
    var last = last
    var (normal, zero): ([Int], [Int]) = ([], [])
    for page in pages {
      let isZero = Int.random(in: 0..<4, using: &random) == 0
      let range = page * 4096..<(page + 1) * 4096
      memory[block].replaceSubrange(range, with: isZero ? [UInt8](repeating: 0, count: 4096) : content(block, page))
      if !isZero {
        normal.append(page)
      } else if way.zeroInPackets {
        zero.append(page)
      } else {
        stream.append(bigEndian: UInt64(page * 4096) | 2 | (block == last ? 0x20 : 0))
        if block != last {
          stream.append(UInt8(ScriptedSource.names[block].utf8.count))
          stream += ScriptedSource.names[block].utf8
        }
        last = block
        stream.append(0)
      }
    }
    packet(Int.random(in: 0..<way.channels, using: &random), block, normal, zero)
    return last
  }

  private mutating func content(_ block: Int, _ page: Int) -> [UInt8] {
    var bytes = Array(memory[block][page * 4096..<(page + 1) * 4096])
    if Bool.random(using: &random) {
      bytes.replaceSubrange(0..<2000, with: random.bytes(2000))
      return bytes
    }
    for _ in 0..<40 {
      bytes[Int.random(in: 0..<4096, using: &random)] = UInt8.random(in: 1...255, using: &random)
    }
    return bytes
  }

  private mutating func packet(_ channel: Int, _ block: Int, _ normal: [Int], _ zero: [Int], flags: UInt32 = 0) {
    let name = flags == 0 ? Array(ScriptedSource.names[block].utf8) : []
    // Without pages the size is what the packet before had.
    let packet = Bytes().be(UInt32(0x1122_3344)).be(UInt32(1)).be(flags).be(UInt32(128)).be(UInt32(normal.count))
      .be(UInt32(normal.isEmpty ? 8192 : normal.count * 4096)).be(number).be(UInt32(zero.count))
      .raw(Array(repeating: 0, count: 28)).raw(name + Array(repeating: 0, count: 256 - name.count))
    for page in normal + zero { packet.be(UInt64(page * 4096)) }
    packet.raw(Array(repeating: 0, count: 8 * (128 - normal.count - zero.count)))
    for page in normal { packet.raw(Array(memory[block][page * 4096..<(page + 1) * 4096])) }
    channels[channel] += packet.bytes
    number += 1
  }

  private mutating func synchronize() {
    for channel in channels.indices { packet(channel, 0, [], [], flags: 1) }
  }
}

/// What threads have done.
private final class Pieces: Sendable {
  let count = Atomic<Int>(0)
}

/// What a destination hypervisor with multifd has taken.
struct MultifdTaken {
  var stream: TakenStream
  /// By channel: all bytes, and barriers.
  var channels: [[UInt8]]

  /// Packets that say SYNC on each channel; -1 for one that has anything else.
  var barriers: [Int] {
    channels.map { bytes in
      do throws(StreamError) {
        var reader = try MultifdReader(MemorySource(bytes))
        var count = -1
        while let element = try reader.next() {
          switch element.kind {
          case .opening where count == -1: count = 0
          case .packet(let packet) where packet.isSync && packet.pageCount + packet.zeroPageCount == 0: count += 1
          default: return -1
          }
        }
        return count
      } catch { return -1 }
    }
  }
}

extension ProxyPair {
  /// Sends what a source with multifd sends, each connection at its own pace.
  /// - Parameter breaksOff: the stream's connection is closed behind the last byte, without a wait for answers.
  func migrate(_ source: MultifdSource, breaksOff: Bool = false) throws -> (
    taken: MultifdTaken, source: [RelayReport], destination: [RelayReport]
  ) {
    var taken: MultifdTaken?
    let reports = try run {
      let out = try leave()
      let ways = try source.channels.map { _ in try leave() }
      let (sent, ended) = (Pieces(), Pieces())
      var feeding = zip(ways, source.channels).map { way, bytes in
        HostThread(name: "test-channel") {
          for first in stride(from: 0, to: bytes.count, by: 64 << 10) {
            let piece = Array(bytes[first..<min(bytes.count, first + 64 << 10)])
            guard (try? way.send(piece)) != nil else { break }
            sent.count.add(1, ordering: .relaxed)
          }
          way.finishSending()
          ended.count.add(1, ordering: .relaxed)
        }
      }
      // A hypervisor goes on behind its list of blocks when all channels have said their first words; and what is behind that
      // comes when pages have been taken from channels.
      HostClock.sleep(nanoseconds: 30_000_000)
      let (stream, head) = (source.stream, source.streamHead)
      feeding.append(
        HostThread(name: "test-feed") {
          try? out.send(Array(stream.prefix(head)))
          while sent.count.load(ordering: .relaxed) < 24, ended.count.load(ordering: .relaxed) < ways.count {
            HostClock.sleep(nanoseconds: 1_000_000)
          }
          try? out.send(Array(stream.dropFirst(head)))
          if !breaksOff { _ = try? out.receive(count: 16) }
          out.finishSending()
        })
      let main = try arrive()
      let others = Mutex<[[UInt8]]>([])
      var reading: [HostThread] = []
      for _ in ways {
        guard let channel = try? arrive() else { break }
        reading.append(
          HostThread(name: "test-taking") {
            var bytes: [UInt8] = []
            var room = [UInt8](repeating: 0, count: 64 << 10)
            while let got = try? channel.receiveSome(into: &room), got > 0 { bytes += room[..<got] }
            channel.finishSending()
            others.withLock { $0.append(bytes) }
          })
      }
      let arrived = TakenStream(main) { try? main.send($0) }
      main.finishSending()
      for thread in feeding + reading { thread.join() }
      // By the channels' numbers.
      taken = MultifdTaken(
        stream: arrived,
        channels: others.withLock { $0 }.sorted { ($0.dropFirst(24).first ?? 0) < ($1.dropFirst(24).first ?? 0) })
    }
    return (try #require(taken), reports.source, reports.destination)
  }
}
