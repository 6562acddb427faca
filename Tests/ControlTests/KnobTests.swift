// SPDX-License-Identifier: Apache-2.0
import Control
import Convergence
import Foundation
import Lanes
import Migration
import PageCodecs
import Testing

@Suite("Knobs")
struct KnobTests {
  private func set(_ name: String, _ value: JSONValue, in settings: inout MigrationSettings) throws {
    try Knob.change([name: value])(&settings)
  }

  @Test("What a knob prints, it reads, for any settings")
  func roundTrip() throws {
    var other = MigrationSettings(
      bandwidthLimit: 125_000_000, switchoverBandwidth: 1, downtimeLimit: .microseconds(1500),
      codec: try CodecPolicy(parsing: "zstd:3"), workers: 7, channels: 5, deltaCache: .percent(2.5),
      policy: [.dirtyLimit, .localMinimum], throttle: 0, deadline: 12.5, deadlineAction: .cancel, holds: true)
    other.autoConverge = .init()
    other.autoConverge.tailslow = true
    other.autoConverge.limit = 77
    other.dirtyLimit.limit = 77
    other.dirtyLimit.fraction = 0.7
    for wanted in [MigrationSettings(), other] {
      for cache: CacheBudget.Size in [wanted.deltaCache, .off, .automatic, .bytes(12345)] {
        var wanted = wanted
        wanted.deltaCache = cache
        var settings = wanted == other ? MigrationSettings() : other
        try Knob.change(Knob.values(wanted))(&settings)
        #expect(settings == wanted)
        // As text, too: that is what a command line gives.
        settings = other
        try Knob.change(Knob.values(wanted).mapValues { .string($0.text ?? "") })(&settings)
        #expect(settings == wanted)
      }
    }
  }

  @Test(
    "Values as people write them",
    arguments: [
      ("bandwidth", "1Gbit", 125_000_000), ("bandwidth", " 100 MiB ", 104_857_600), ("bandwidth", "none", 0),
      ("bandwidth", "1.5gbps", nil), ("bandwidth", "500Mbit/s", 62_500_000), ("downtime-limit", "300ms", 300),
      ("downtime-limit", "300 ms", 300), ("throttle", "20%", 20), ("dirty-limit", "85 %", 85),
      ("delta-cache", "1GiB", 1 << 30), ("deadline", "60s", 60),
    ] as [(String, String, Int64?)])
  func written(name: String, text: String, number: Int64?) throws {
    var settings = MigrationSettings()
    guard let number else {
      #expect(throws: SettingError.self) { try set(name, .string(text), in: &settings) }
      return
    }
    try set(name, .string(text), in: &settings)
    #expect(Knob.values(settings)[name] == .integer(number))
  }

  @Test("Wrong values are refused in one line that names the knob, and change nothing")
  func wrong() throws {
    let values: [JSONValue] = [
      .string(""), .string("many"), .string("-1"), .string("nan"), .string("inf"), .string("1e400"), .integer(-1),
      .number(-0.5), .number(.infinity), .integer(.max), .array([]), .object(["a": .null]), .string("\n"),
      .string(String(repeating: "9", count: 1000)), .string("0x"), .string("ÿ"), .string("٣"),
    ]
    for knob in Knob.all {
      for value in values {
        // More bytes than there are is a limit that holds nothing back, and so is a cache as large as the guest.
        let isRate = knob.unit == .bytesPerSecond || knob.unit == .bytes
        if isRate, value == .integer(.max) { continue }
        var settings = MigrationSettings()
        #expect(throws: SettingError.self, "\(knob.name) \(value)") { try set(knob.name, value, in: &settings) }
        #expect(settings == MigrationSettings())
        do { try set(knob.name, value, in: &settings) } catch let error as SettingError {
          #expect(error.reason.hasPrefix("\(knob.name): ") && !error.reason.contains("\n"), "\(error.reason)")
        }
      }
    }
    #expect(throws: SettingError("channels: takes 1 to the number of lanes, 64 at most, not '65'")) {
      try Knob.change(["channels": .integer(65)])
    }
  }

  @Test("docs/CONTROL.md names every setting, command and error")
  func documented() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let file = root.deletingLastPathComponent().appendingPathComponent("docs/CONTROL.md")
    let text = try String(contentsOf: file, encoding: .utf8)
    let names =
      Knob.all.map { $0.name } + ControlCommand.allCases.map { $0.rawValue }
      + ControlErrorCode.allCases.map { $0.rawValue }
    for name in names { #expect(text.contains("| `\(name)` |"), "\(name)") }
  }
}
