// SPDX-License-Identifier: Apache-2.0
import Foundation
import GuestMemory
import TestSupport
import Testing

@Suite("pageferry ctl", .serialized)
struct ControlCommandTests {
  private static let canTrack = DirtyTracking.refusal(of: .automatic) == nil

  @Test("Without a socket, or with wrong words, it ends with one line and its own exit code")
  func wrong() throws {
    let folder = TemporaryDirectory()
    let absent = try Command.run(["ctl", folder.file("none"), "status"])
    #expect(absent.code == 50 && absent.error.contains("no control socket"), "\(absent.error)")
    #expect(absent.error.split(separator: "\n").count == 1)
    for wrong in [
      ["jump"], ["set"], ["set", "hold"], ["set", "=1"], ["set", "hold=on", "hold=off"], ["pause", "hold=on"],
      ["status", "--interval", "1"], ["watch", "--interval", "0"], ["help"], [],
    ] { #expect(try Command.run(["ctl", folder.file("none")] + wrong).code == 64, "\(wrong)") }
    let taken = try folder.write([1], to: "taken")
    let ended = try Command.run(["demo", "--memory", "16MiB", "--control", taken])
    #expect(ended.code == 30 && ended.error.contains("not a socket"), "\(ended.error)")
    let help = try Command.run(["ctl", "--help"])
    for word in ["switchover-bandwidth", "throttle-tailslow", "release", "50 there is no control socket"] {
      let text = help.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
      #expect(text.contains(word), "\(help.output)")
    }
  }

  @Test("A demo is watched, steered and completed through its socket", .enabled(if: canTrack))
  func steers() throws {
    let folder = TemporaryDirectory()
    let path = folder.file("ctl")
    let demo = try Command.start([
      "demo", "--quiet", "--memory", "64MiB", "--working-set", "16MiB", "--rate", "50", "--settle", "0.2", "--hold",
      "--codec", "none", "--link", "40MiB", "--control", path,
    ])
    for _ in 0..<500 where !TemporaryDirectory.exists(path) { Thread.sleep(forTimeInterval: 0.02) }
    let status = try Command.run(["ctl", path, "status"])
    #expect(status.code == 0, "\(status.error)")
    for line in [
      "Job type:", "Time elapsed:", "Data processed:", "Memory remaining:", "Memory bandwidth:", "Dirty rate:",
      "Constant pages:", "Normal data:", "Setup time:", "Auto converge throttle:", "Verdict:", "Advice:",
      "Working set:", "bandwidth:", "deadline-action:",
    ] { #expect(status.output.contains(line), "\(line)\n\(status.output)") }
    let json = try Command.run(["ctl", path, "status", "--json"])
    let object = try #require(JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    #expect((object["settings"] as? [String: Any])?["hold"] as? Bool == true)
    #expect((object["ram"] as? [String: Any])?["total"] as? Int == 64 << 20)
    let watch = try Command.start(["ctl", path, "watch", "--interval", "0.2"])
    let set = try Command.run(["ctl", path, "set", "bandwidth=1Gbit", "downtime-limit=500"])
    #expect(
      set.code == 0 && set.output == "bandwidth: 119 MiB/s\ndowntime-limit: 500 ms\n", "\(set.output)\(set.error)")
    let refused = try Command.run(["ctl", path, "set", "hold=off", "channels=65"])
    #expect(refused.code == 51 && refused.error.contains("channels: takes 1 to the number of lanes"))
    #expect(try Command.run(["ctl", path, "resume"]).code == 51)
    #expect(try Command.run(["ctl", path, "version"]).output.contains("protocol 1"))
    #expect(try Command.run(["ctl", path, "complete"]).code == 0)
    let watched = watch.finish()
    #expect(watched.code == 0 && watched.output.contains("completed after"), "\(watched.output)\(watched.error)")
    let ended = demo.finish()
    #expect(ended.code == 0, "\(ended.error)")
    #expect(!TemporaryDirectory.exists(path))
  }

  @Test("A demo that is cancelled, or gets two signals, leaves no socket", .enabled(if: canTrack))
  func leavesNothing() throws {
    let folder = TemporaryDirectory()
    for signals in [0, 1, 2] {
      let path = folder.file("ctl\(signals)")
      let demo = try Command.start([
        "demo", "--quiet", "--memory", "32MiB", "--working-set", "8MiB", "--rate", "20", "--hold", "--codec", "none",
        "--link", "4MiB", "--control", path,
      ])
      for _ in 0..<500 where !TemporaryDirectory.exists(path) { Thread.sleep(forTimeInterval: 0.02) }
      if signals == 0 {
        #expect(try Command.run(["ctl", path, "cancel", "--reason", "enough of it"]).code == 0)
      } else {
        #expect(try Command.run(["ctl", path, "status"]).code == 0)
        for _ in 0..<signals { kill(demo.process.processIdentifier, SIGTERM) }
      }
      let ended = demo.finish()
      #expect(ended.code == (signals == 0 ? 43 : 143), "\(ended.code) \(ended.error)")
      if signals == 0 { #expect(ended.error.contains("enough of it")) }
      #expect(!TemporaryDirectory.exists(path), "\(signals) signals")
    }
  }
}
