// SPDX-License-Identifier: Apache-2.0
import Control
import HostSystem
import Migration
import TestSupport
import Testing

/// Whatever is sent to a control socket is answered, and does nothing.
@Suite("Garbage to the control socket", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct GarbageTests {
  /// Lines that no command is in.
  private static func lines(_ count: Int, seed: UInt64) -> [[UInt8]] {
    var random = SeededGenerator(seed: seed)
    let whole = #"{"id":1,"command":"set","arguments":{"bandwidth":1000000,"hold":false}}"#
    return (0..<count).map { index -> [UInt8] in
      switch index % 10 {
      case 0:
        return (0..<Int.random(in: 1...300, using: &random)).map { _ in UInt8.random(in: 11...255, using: &random) }
      case 1: return Array(whole.utf8.prefix(Int.random(in: 1..<whole.utf8.count, using: &random)))
      case 2:
        let depth = Int.random(in: 30...20_000, using: &random)
        return Array(String(repeating: ["[", #"{"a":"#].randomElement(using: &random) ?? "[", count: depth).utf8)
      case 3:
        let depth = Int.random(in: 40...10_000, using: &random)
        return Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
      case 4:
        let number = ["1e999999999", "-9" + String(repeating: "9", count: 5000), "100", "-1", "99.5", "1E400", "0x1"]
        return Array(#"{"command":"set","arguments":{"throttle":\#(number.randomElement(using: &random) ?? "")}}"#.utf8)
      case 5:
        let wrong = [
          #"[]"#, "null", "true", "3", #""status""#, "{}", #"{"command":7}"#, #"{"command":["status"]}"#,
          #"{"command":"set","arguments":[]}"#, #"{"command":"set","arguments":{"bandwidth":{"a":1}}}"#,
          #"{"command":"set","arguments":{"workers":"NaN","deadline":"inf"}}"#, #"{"command":"STATUS"}"#,
          #"{"command":"pause","arguments":{"now":true}}"#, #"{"command":"watch","arguments":{"interval":1e-9}}"#,
          #"{"command":"cancel","arguments":{"reason":5}}"#, #"{"command":"set","arguments":{"deadline":"nan"}}"#,
          #"{"command":"set","arguments":{"channels":4}}"#, "{\"command\":\"\u{0}\"}", #"{"command":"\ud800"}"#,
        ]
        return Array((wrong.randomElement(using: &random) ?? "").utf8)
      case 6: return [UInt8](repeating: UInt8(ascii: "x"), count: Int.random(in: 60_000...200_000, using: &random))
      case 7: return Array(#"{"command":"set","arguments":{"downtime-limit":77,"policy":"\#(index)"}}"#.utf8)
      case 8:
        var bytes = Array(whole.utf8)
        bytes[Int.random(in: 10..<18, using: &random)] ^= 1 << UInt8.random(in: 0..<5, using: &random)
        return bytes
      default: return Array(#"{"id":{"a":[1,null]},"command":"restart\#(index)"}"#.utf8)
      }
    }.map { $0.filter { $0 != UInt8(ascii: "\n") } }
  }

  @Test("1,000 lines of garbage are answered with refusals, change nothing, and the migration completes")
  func thousand() throws {
    let migration = try ControlledMigration()
    let client = try migration.client()
    try migration.wait(for: .active)
    let before = try client.status().settings
    var answers: [String: Int] = [:]
    for line in Self.lines(1000, seed: 61) {
      try client.send(line + [UInt8(ascii: "\n")])
      let isBlank = line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }
      guard !isBlank else { continue }
      let code = try client.answerCode()
      #expect(code != nil, "\(String(decoding: line.prefix(200), as: UTF8.self))")
      answers[code ?? "", default: 0] += 1
    }
    #expect(try client.status().settings == before)
    let kinds: Set = ["bad-json", "bad-request", "unknown-command", "bad-argument", "line-too-long"]
    #expect(Set(answers.keys) == kinds, "\(answers)")
    try client.order(.release)
    try client.order(.complete)
    #expect(try migration.finish().outcome == .completed)
    try migration.expectArrived()
  }
}
