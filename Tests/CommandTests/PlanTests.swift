// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@Suite("pageferry plan")
struct PlanTests {
  private static let way = ["--link", "1Gbit", "--codec", "none"]

  private func plan(_ arguments: [String]) throws -> Command.Ended { try Command.run(["plan"] + arguments) }

  @Test("What converges ends with 0, what does not with 3 and what would help")
  func verdicts() throws {
    let guest = ["--memory", "1GiB", "--working-set", "512MiB"]
    let slow = try plan(guest + ["--dirty-rate", "20MB"] + Self.way)
    #expect(slow.code == 0, "\(slow.error)")
    #expect(slow.output.contains("It converges") && slow.output.contains("--downtime-limit 300"))
    let fast = try plan(guest + ["--dirty-rate", "400MB"] + Self.way)
    #expect(fast.code == 3, "\(fast.error)")
    for words in ["It cannot converge", "a throttle of", "× the bandwidth", "a downtime of"] {
      #expect(fast.output.contains(words), "\(words)")
    }
    for words in [
      "Use: --codec none --downtime-limit 300 --policy dirty-limit (", "--policy auto-converge (", "--deadline ",
    ] {
      #expect(fast.output.contains(words), "\(words)")
    }
    let throttled = try plan(
      guest + ["--dirty-rate", "400MB", "--policy", "dirty-limit", "--dirty-limit", "70"] + Self.way)
    #expect(throttled.code == 0)
    #expect(throttled.output.contains("--policy dirty-limit --dirty-limit 70"))
    let late = try plan(guest + ["--dirty-rate", "400MB", "--deadline", "20"] + Self.way)
    #expect(late.code == 3 && late.output.contains("At the deadline it is handed over all the same"))
    let object = try #require(
      JSONSerialization.jsonObject(
        with: Data(try plan(guest + ["--dirty-rate", "400MB", "--json"] + Self.way).output.utf8))
        as? [String: Any])
    #expect(object["converges"] as? Bool == false && object["schema"] as? Int == 1)
  }

  @Test(
    "Wrong options end with 64 and a line",
    arguments: [
      ["--link", "1Gbit"], ["--dirty-rate", "1MB", "--link", "1Gbit"], ["--memory", "1GiB", "--dirty-rate", "1MB"],
      ["--trace", "x", "--pid", "1", "--link", "1Gbit"], ["--trace", "x", "--memory", "1GiB", "--link", "1Gbit"],
      ["--memory", "1GiB", "--dirty-rate", "1MB", "--link", "1Gbit", "--throttle", "100"],
      ["--memory", "1GiB", "--dirty-rate", "1MB", "--link", "1Gbit", "--policy", "slowly"],
      ["--memory", "1GiB", "--dirty-rate", "1MB", "--link", "1Gbit", "--ratio", "nan"],
      ["--memory", "1GiB", "--dirty-rate", "1MB", "--link", "1Gbit", "--working-set", "2GiB"],
      ["--pid", "1", "--for", "inf", "--link", "1Gbit"],
    ])
  func wrongOptions(arguments: [String]) throws { #expect(try plan(arguments).code == 64) }

  @Test("A process that is not there ends with 4 and a line; one that is, with what the host lacks, or a verdict")
  func processes() throws {
    let absent = try plan(["--pid", "2147483600"] + Self.way)
    #expect(absent.code == 4 && absent.error.contains("there is no process 2147483600"))
    let own = try plan(["--pid", "\(ProcessInfo.processInfo.processIdentifier)", "--for", "0.2"] + Self.way)
    if own.code == 4 {
      #expect(own.error.contains("CONFIG_MEM_SOFT_DIRTY") && own.error.contains("--dirty-rate"))
      #expect(own.error.split(separator: "\n").count == 1)
    } else {
      #expect(own.code == 0 || own.code == 3)
    }
  }

  private static let header =
    #"{"format":"pageferry-dirty-trace","version":1,"memoryBytes":1073741824,"pageSize":4096}"#

  @Test("A trace that is damaged is refused with its line")
  func damagedTraces() throws {
    let folder = TemporaryDirectory()
    let cases: [(text: String, words: String)] = [
      ("", "empty"), (Self.header, "no samples"), ("{", "line 1"), ("[]\n", "line 1"),
      (Self.header.replacingOccurrences(of: "\"version\":1", with: "\"version\":7"), "version 7"),
      (Self.header + "\n{\"t\":1}\n", "line 2: 'windows' is missing"),
      (Self.header + "\n\n{\"t\":1,\"windows\":[{\"seconds\":1,\"pages\":1e300}]}\n", "line 3: pages is"),
      (Self.header + "\n{\"t\":1,\"windows\":[{\"seconds\":1,\"pages\":9", "line 2"),
      (Self.header + "\n" + String(repeating: "[", count: 60_000), "line 2"),
      (Self.header + "\n" + String(repeating: " ", count: 70_000) + "1", "longer than"),
      (Self.header + "\n{\"t\":\"now\",\"windows\":[]}", "line 2: 't'"),
    ]
    for (number, one) in cases.enumerated() {
      try folder.write(Array(one.text.utf8), to: "\(number).ndjson")
      let ended = try plan(["--trace", folder.file("\(number).ndjson")] + Self.way)
      #expect(ended.code == 4, "case \(number): \(ended.output)\(ended.error)")
      #expect(ended.error.contains(one.words), "case \(number): \(ended.error)")
      #expect(ended.error.split(separator: "\n").count == 1, "case \(number)")
    }
    #expect(try plan(["--trace", folder.file("none")] + Self.way).error.contains("No such file"))
    try folder.write(
      Array((Self.header + "\n{\"t\":1,\"windows\":[{\"seconds\":0.1,\"pages\":100}]}\n").utf8), to: "good.ndjson")
    #expect(try plan(["--trace", folder.file("good.ndjson")] + Self.way).code == 0)
  }
}
