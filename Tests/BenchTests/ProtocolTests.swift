// SPDX-License-Identifier: Apache-2.0
import HostSystem
import TestSupport
import Testing
import Transport

@testable import Bench

@Suite("The control connection's lines") struct ProtocolTests {
  static let messages: [BenchMessage] = [
    .hello(.init(host: Sample.host, memoryLimit: nil)), .welcome(.init(host: Sample.host, memoryLimit: 1 << 33)),
    .ping(.init(number: 7)), .pong(.init(number: .max)), .link(.init(streams: 4, seconds: 1.5)),
    .ready(.init(port: 65535, token: StreamToken.random())), .attached(.init()),
    .linked(.init(bytes: 123_456_789_012, seconds: 1.01)),
    .host(.init(codecs: ["lz4", "zstd:1"], mix: "25:50:25", seed: .max, memory: 1 << 30, seconds: 0.1)),
    .measured(Sample.figures),
    .cell(.init(memory: 1 << 30, history: 1 << 28, channels: 64, lanes: 256, runs: true, seconds: 12.5)),
    .received(Sample.destination), .refused(.init(code: 37, reason: "no")), .bye(.init()),
  ]

  @Test("Every message is one line, and comes back as it was", arguments: messages)
  func roundTrip(message: BenchMessage) throws {
    let line = message.line
    #expect(line.last == 10 && line.dropLast().allSatisfy { $0 >= 32 } && line.count < 2000)
    #expect(String(decoding: line, as: UTF8.self).contains("\"pageferry-bench\":1"))
    #expect(try BenchMessage(line: Array(line.dropLast())) == message)
  }

  private static func error(_ line: String) -> BenchError? {
    do throws(BenchError) { _ = try BenchMessage(line: Array(line.utf8)) } catch { return error }
    return nil
  }

  @Test(
    "What is not of this protocol is foreign",
    arguments: [
      "", "GET / HTTP/1.1", "SSH-2.0-OpenSSH", "[]", "{", "{}", "{\"ping\":{\"number\":1}}", "null", "{\"a\":NaN}",
      "{\u{0}}", "{\"x\":" + String(repeating: "[", count: 50_000),
    ])
  func foreign(line: String) { #expect(Self.error(line) == .foreign) }

  @Test("Another version is named, whatever else it says")
  func version() {
    #expect(Self.error("{\"pageferry-bench\":2,\"dance\":{}}") == .version(found: 2, supported: 1))
    #expect(Self.error("{\"pageferry-bench\":-1}") == .version(found: -1, supported: 1))
  }

  @Test(
    "A line that says nothing, two things, or half of one is malformed",
    arguments: [
      "{\"pageferry-bench\":1}", "{\"pageferry-bench\":1,", "{\"pageferry-bench\":1,\"dance\":{}}",
      "{\"pageferry-bench\":1,\"bye\":{},\"ping\":{\"number\":1}}",
      "{\"pageferry-bench\":1,\"ping\":{}}", "{\"pageferry-bench\":1,\"ping\":3}",
      "{\"pageferry-bench\":1,\"ping\":{\"number\":-1}}", "{\"pageferry-bench\":1,\"ping\":{\"number\":4294967296}}",
      "{\"pageferry-bench\":1,\"link\":{\"streams\":1.5,\"seconds\":1}}", "{\"pageferry-bench\":\"1\",\"bye\":{}}",
      "{\"pageferry-bench\":1,\"cell\":null}",
    ])
  func malformed(line: String) {
    guard case .malformed = Self.error(line) else {
      Issue.record("\(String(describing: Self.error(line)))")
      return
    }
  }

  @Test(
    "A value beyond its range is named, with the range",
    arguments: [
      ("link", "{\"streams\":0,\"seconds\":1}", "streams"), ("link", "{\"streams\":65,\"seconds\":1}", "streams"),
      ("link", "{\"streams\":1,\"seconds\":1e300}", "seconds"), ("link", "{\"streams\":1,\"seconds\":-1}", "seconds"),
      ("cell", cell(memory: "4095"), "memory"), ("cell", cell(memory: "0"), "memory"),
      ("cell", cell(memory: "70368744181760"), "memory"), ("cell", cell(memory: "8193"), "memory"),
      ("cell", cell(channels: 0), "channels"), ("cell", cell(channels: 65), "channels"),
      ("cell", cell(lanes: 257), "lanes"), ("cell", cell(seconds: "1e9"), "seconds"),
      ("host", "{\"codecs\":[\"gzip\"],\"mix\":\"25:50:25\",\"seed\":1,\"memory\":4096,\"seconds\":0.1}", "codec"),
      ("host", "{\"codecs\":[],\"mix\":\"25:50:26\",\"seed\":1,\"memory\":4096,\"seconds\":0.1}", "mix"),
      ("host", "{\"codecs\":[],\"mix\":\"25:50:25\",\"seed\":1,\"memory\":4096,\"seconds\":99}", "seconds"),
      ("ready", "{\"port\":0,\"token\":\"\"}", "port"),
      ("ready", "{\"port\":1,\"token\":\"\(String(repeating: "0", count: 33))\"}", "bytes of the token"),
      ("linked", "{\"bytes\":1,\"seconds\":-0.1}", "seconds"),
      ("received", "{\"completed\":true,\"cpuSeconds\":1e99,\"decodeSeconds\":0,\"storeSeconds\":0}", "cpuSeconds"),
    ])
  func ranges(name: String, content: String, field: String) {
    guard case .outOfRange(let found, _, let allowed) = Self.error("{\"pageferry-bench\":1,\"\(name)\":\(content)}")
    else {
      Issue.record("\(content) was taken")
      return
    }
    #expect(found == field && !allowed.isEmpty)
  }

  private static func cell(
    memory: String = "4096", channels: Int = 1, lanes: Int = 1, seconds: String = "1"
  ) -> String {
    "{\"memory\":\(memory),\"history\":0,\"channels\":\(channels),\"lanes\":\(lanes),\"runs\":false,\"seconds\":\(seconds)}"
  }

  @Test("Too many codecs, and numbers that no Double holds, are refused")
  func lists() {
    let codecs = Array(repeating: "\"lz4\"", count: 17).joined(separator: ",")
    let many = "{\"codecs\":[\(codecs)],\"mix\":\"25:50:25\",\"seed\":1,\"memory\":4096,\"seconds\":0.1}"
    guard case .outOfRange("codecs", _, _) = Self.error("{\"pageferry-bench\":1,\"host\":\(many)}") else {
      Issue.record("17 codecs were taken")
      return
    }
    #expect(Self.error("{\"pageferry-bench\":1,\"link\":{\"streams\":1,\"seconds\":1e999}}") != nil)
  }

  @Test("A peer's words cannot rewrite a terminal")
  func printable() {
    let refusal = BenchMessage.refused(
      .init(code: 1, reason: "\u{1b}[2J\u{202e}x" + String(repeating: "y", count: 999)))
    guard case .refused(let shown) = refusal.printable() else { return }
    #expect(!shown.reason.contains("\u{1b}") && !shown.reason.contains("\u{202e}") && shown.reason.count == 300)
  }
}

@Suite("Lines on a connection") struct LineChannelTests {
  private static func pair() throws -> (LineChannel, Connection, Listener) {
    let listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let near = try Dialer(endpoint: listener.endpoint, options: .init()).connect(within: .seconds(5))
    let far = try #require(try listener.accept(within: .seconds(5)))
    return (LineChannel(near), far, listener)
  }

  @Test("Lines that come in pieces and in one piece are told apart")
  func pieces() throws {
    let (channel, far, listener) = try Self.pair()
    let (first, second) = (BenchMessage.ping(.init(number: 1)).line, BenchMessage.bye(.init()).line)
    try far.send(Array(first.prefix(5)))
    let late = HostThread(name: "late") {
      HostClock.sleep(nanoseconds: 20_000_000)
      try? far.send(Array(first.dropFirst(5)) + second)
    }
    #expect(try channel.next(within: .seconds(2)) == .ping(.init(number: 1)))
    #expect(try channel.next(within: .seconds(2)) == .bye(.init()))
    late.join()
    far.finishSending()
    #expect(throws: BenchError.closed) { try channel.next(within: .seconds(2)) }
    withExtendedLifetime(listener) {}
  }

  @Test("A line without end is refused at its limit, a stranger at the first byte")
  func endless() throws {
    let (channel, far, listener) = try Self.pair()
    let flood = HostThread(name: "flood") { try? far.send(Array("{".utf8) + [UInt8](repeating: 32, count: 200_000)) }
    #expect(throws: BenchError.lineTooLong(allowed: 65536)) { try channel.next(within: .seconds(5)) }
    channel.connection.shutDown()
    far.shutDown()
    flood.join()
    let (other, stranger, second) = try Self.pair()
    try stranger.send(Array("GET /".utf8))
    #expect(throws: BenchError.foreign) { try other.next(within: .seconds(5)) }
    withExtendedLifetime((listener, second)) {}
  }

  @Test("A byte now and then does not outlast the limit of a line")
  func slow() throws {
    let (channel, far, listener) = try Self.pair()
    let drip = HostThread(name: "drip") {
      for _ in 0..<30 {
        guard (try? far.send(Array("{".utf8))) != nil else { return }
        HostClock.sleep(nanoseconds: 20_000_000)
      }
    }
    let started = HostClock.now()
    #expect(throws: BenchError.transport(.timedOut)) { try channel.next(within: .milliseconds(150)) }
    #expect(HostClock.now() - started < 500_000_000)
    channel.connection.shutDown()
    drip.join()
    withExtendedLifetime(listener) {}
  }
}

@Suite("Lines that were damaged") struct DamagedLineTests {
  @Test("Whatever is changed in a line, it is refused or a message that may be used", arguments: ProtocolTests.messages)
  func mutated(message: BenchMessage) throws {
    var generator = SeededGenerator(seed: 4420)
    let line = Array(message.line.dropLast())
    var taken = 0
    for _ in 0..<300 {
      var damaged = line
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let place = Int.random(in: 0..<damaged.count, using: &generator)
        switch UInt8.random(in: 0...3, using: &generator) {
        case 0: damaged[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: damaged[place] = [45, 46, 48, 57, 101, 34, 123].randomElement(using: &generator) ?? 48
        case 2: damaged.insert(UInt8.random(in: 48...57, using: &generator), at: place)
        default: if damaged.count > 1 { damaged.remove(at: place) }
        }
      }
      do throws(BenchError) {
        let found = try BenchMessage(line: damaged)
        // What is taken can be said again, and is taken again.
        #expect(try BenchMessage(line: Array(found.line.dropLast())) == found)
        taken += 1
      } catch { #expect(!"\(error)".isEmpty) }
    }
    #expect(taken < 300)
  }
}
