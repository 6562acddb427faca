// SPDX-License-Identifier: Apache-2.0
import Control
import HostSystem
import Lanes
import Migration
import PageCodecs
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// What a pair's control sockets do not do.
@Suite("What a pair of proxies refuses to those who steer it")
struct RelayRefusalTests {
  @Test("Every setting is the proxy's own, or refused with one line that says whose it is; orders likewise")
  func refusals() throws {
    let watched = try WatchedPair(try ProxyPair())
    let own: Set = ["bandwidth", "codec", "workers", "delta-cache"]
    for half in ["source", "destination"] {
      let client = try watched.client(half)
      let status = try client.ask(.status, as: ControlStatus.self)
      #expect(Set(status.settings.keys) == (half == "source" ? own : []))
      let help = try client.ask(.help, as: ControlHelp.self)
      #expect(Set(help.settings.map { $0.name }) == Set(status.settings.keys))
      for knob in Knob.all where status.settings[knob.name] == nil {
        do throws(ControlClientError) {
          // Even to what it is.
          _ = try client.ask(
            .set, [knob.name: knob.value(MigrationSettings())], as: [String: [String: JSONValue]].self)
          Issue.record("\(knob.name) was taken")
        } catch {
          guard case .refused(let refusal) = error else { throw error }
          #expect(refusal.code == .badArgument && refusal.message.hasPrefix("\(knob.name): "))
          #expect(!refusal.message.contains("\n") && refusal.message.count < 200)
        }
      }
      for order in MigrationOrder.allCases {
        let command = try #require(ControlCommand(rawValue: order.rawValue))
        do throws(ControlClientError) {
          _ = try client.ask(command, as: [String: JSONValue].self)
          Issue.record("\(order) was taken")
        } catch {
          guard case .refused(let refusal) = error else { throw error }
          #expect(refusal.code == .notNow && refusal.message.contains("QEMU"))
        }
      }
    }
    let client = try watched.client("source")
    for (name, value) in [("workers", "3"), ("codec", "zstd-long:2"), ("codec", "lzma"), ("bandwidth", "-1")] {
      #expect(throws: ControlClientError.self) {
        try client.set(["delta-cache": .string("off"), name: .string(value)])
      }
    }
    // All or nothing.
    #expect(watched.pair.departure.settings.deltaCache == .automatic)
  }

  @Test("Lines of garbage to both halves change nothing, and the migration completes")
  func garbage() throws {
    var random = SeededGenerator(seed: 5)
    let whole = Array(#"{"id":1,"command":"set","arguments":{"bandwidth":1000000,"codec":"lz4"}}"#.utf8)
    let wrong = [
      "[]", "null", #"{"command":7}"#, #"{"command":"set","arguments":{"bandwidth":{"a":1}}}"#,
      #"{"command":"set","arguments":{"downtime-limit":1e999}}"#, #"{"command":"set","arguments":{"":""}}"#,
      #"{"command":"set","arguments":{"workers":99999999999999999999}}"#,
      #"{"command":"cancel","arguments":{"reason":5}}"#,
      #"{"command":"set","arguments":{"bandwidth":1,"hold":true}}"#, #"{"command":"watch","arguments":{"interval":0}}"#,
    ]
    let lines = (0..<300).map { index -> [UInt8] in
      switch index % 4 {
      case 0: Array((wrong.randomElement(using: &random) ?? "").utf8)
      case 1: Array(whole.prefix(Int.random(in: 1..<whole.count, using: &random)))
      case 2: (0..<Int.random(in: 1...300, using: &random)).map { _ in UInt8.random(in: 33...255, using: &random) }
      default: Array(String(repeating: "[", count: Int.random(in: 40...5000, using: &random)).utf8)
      }
    }
    let reports = try WatchedPair.amid(try ProxyPair(bandwidth: 2_000_000), seed: 23) { watched in
      for half in ["source", "destination"] {
        let client = try watched.client(half)
        for line in lines {
          try client.send(line + [UInt8(ascii: "\n")])
          let answer = String(decoding: try client.nextLine(within: .seconds(5)), as: UTF8.self)
          #expect(answer.contains(#""ok":false"#), "\(String(decoding: line, as: UTF8.self)): \(answer)")
        }
      }
      let settings = watched.pair.departure.settings
      #expect(settings.bandwidthLimit == 2_000_000 && settings.codec == .none)
      try watched.client("source").set(["bandwidth": .integer(0)])
    }
    #expect(reports.source.first?.failure == nil && reports.destination.first?.failure == nil, "\(reports)")
  }
}
