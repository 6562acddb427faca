// SPDX-License-Identifier: Apache-2.0
import Foundation
import GuestMemory
import TestSupport
import Testing

/// Whether writes can be tracked here; said aloud where not.
private let tracking: (isPossible: Bool, comment: Comment) = {
  let refusal = DirtyTracking.refusal(of: .automatic)
  if let refusal { print("SKIPPED: tests of the demo: \(refusal)") }
  return (refusal == nil, "\(refusal.map { "\($0)" } ?? "")")
}()

@Suite("pageferry demo", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct DemoTests {
  private static let small = ["--memory", "64MiB", "--working-set", "16MiB", "--rate", "50", "--settle", "0.2"]

  private func object(_ line: Substring) throws -> [String: Any] {
    try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }

  @Test("Two processes: a guest that runs moves from one to the other, and is proved undamaged")
  func moves() throws {
    let ended = try Command.run(["demo"] + Self.small)
    #expect(ended.code == 0, "\(ended.error)")
    #expect(
      ended.output.split(whereSeparator: \.isWhitespace).joined(separator: " ").contains("nothing was lost or torn"))
    #expect(ended.output.contains("The guest stood still for"))
  }

  @Test("As JSON: an object a second, with QEMU's names, and the last one with report and proof")
  func json() throws {
    let ended = try Command.run(["demo", "--json", "--link", "25MiB", "--codec", "none"] + Self.small)
    #expect(ended.code == 0, "\(ended.error)")
    let lines = ended.output.split(separator: "\n")
    try #require(lines.count >= 3)
    for line in lines.dropLast() {
      let ram = try #require(try object(line)["ram"] as? [String: Any])
      for name in [
        "transferred", "remaining", "total", "duplicate", "normal", "normal-bytes", "dirty-pages-rate", "mbps",
      ] {
        #expect(ram[name] != nil, "\(name)")
      }
    }
    let last = try object(try #require(lines.last))
    let proof = try #require(last["proof"] as? [String: Any])
    #expect(proof["isSound"] as? Bool == true && proof["pagesChecked"] as? Int == 16384)
    let report = try #require(last["report"] as? [String: Any])
    #expect(report["outcome"] as? String == "completed")
    let live = try #require(report["live"] as? [String: Any])
    #expect(live["guestIs"] as? String == "atDestination")
  }

  @Test("A guest that is recorded before it moves, and while it does: 'plan' takes the trace")
  func records() throws {
    let folder = TemporaryDirectory()
    let trace = folder.file("trace.ndjson")
    let ended = try Command.run(
      ["demo", "--quiet", "--link", "16MiB", "--codec", "none", "--record", trace, "--record-for", "0.5"] + Self.small)
    #expect(ended.code == 0, "\(ended.error)")
    let lines = try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n")
    #expect(try object(try #require(lines.first))["format"] as? String == "pageferry-dirty-trace")
    // Five before; what comes after is while it moved, and has no working set.
    try #require(lines.count > 6)
    #expect(try object(lines[5])["content"] != nil)
    #expect(try object(lines[6])["workingSetPages"] == nil)
    let plan = try Command.run(["plan", "--trace", trace, "--link", "16MiB", "--codec", "none", "--json"])
    #expect(plan.code == 0, "\(plan.error)")
    #expect(try object(plan.output[...])["converges"] as? Bool == true)
  }

  @Test("The receiving process is killed while pages flow: one line, and the guest stays")
  func receiverKilled() throws {
    let sender = try Command.start(["demo", "--quiet", "--link", "4MiB", "--codec", "none"] + Self.small)
    // The demo has one child: the receiver.
    let child = try child(of: sender.process.processIdentifier)
    Thread.sleep(forTimeInterval: 1)
    kill(child, SIGKILL)
    let ended = sender.finish()
    #expect(ended.code == 32, "\(ended.error)")
    #expect(ended.error.split(separator: "\n").count == 1, "\(ended.error)")
  }

  @Test("The sending process is killed while pages flow: the receiver drops what it has")
  func senderKilled() throws {
    let (receiver, sender) = try pair()
    Thread.sleep(forTimeInterval: 1)
    kill(sender.process.processIdentifier, SIGKILL)
    _ = sender.finish()
    let ended = receiver.finish()
    #expect(ended.code == 32, "\(ended.error)")
  }

  @Test("Ctrl-C at the sender cancels both", arguments: [SIGINT, SIGTERM])
  func interrupted(signal: Int32) throws {
    let (receiver, sender) = try pair()
    Thread.sleep(forTimeInterval: 1)
    kill(sender.process.processIdentifier, signal)
    let sent = sender.finish()
    #expect(sent.code == 128 + signal, "\(sent.error)")
    #expect(sent.error.contains("cancelled by"))
    #expect(receiver.finish().code == 42)
  }

  @Test(
    "Options that make no sense are refused in one line that says why",
    arguments: [
      ["--pattern", "circular"], ["--rate", "-1"], ["--mix", "50:60:70"], ["--memory", "1000"], ["--memory", "0"],
      ["--threads", "0"], ["--delta-cache", "120%"], ["--delta-cache", "many"], ["--downtime-limit", "0"],
      ["--codec", "gzip"], ["--to", "x", "--listen", "y"], ["--tracking", "guess"], ["--settle", "-1"],
      ["--compressibility", "101"], ["--memory", "64TiB"],
    ])
  func options(arguments: [String]) throws {
    let ended = try Command.run(["demo"] + arguments)
    #expect(ended.code == 64 || arguments == ["--memory", "64TiB"] && ended.code == 23, "\(ended.code) \(ended.error)")
    #expect(!ended.error.isEmpty && ended.output.isEmpty)
  }

  /// A receiver and a sender, slow enough to be in the middle of it for a while.
  private func pair() throws -> (receiver: Command.Running, sender: Command.Running) {
    let receiver = try Command.start(["demo", "--listen", "127.0.0.1:0"])
    let port = try receiver.port(after: "waiting for a demo's guest")
    let sender = try Command.start(
      ["demo", "--quiet", "--to", "127.0.0.1:\(port)", "--link", "4MiB", "--codec", "none"] + Self.small)
    // On a busy machine it takes the sender a while to get there.
    _ = try receiver.line(with: "session ")
    return (receiver, sender)
  }

  private func child(of parent: Int32) throws -> Int32 {
    for _ in 0..<200 {
      let text = try String(contentsOfFile: "/proc/\(parent)/task/\(parent)/children", encoding: .utf8)
      if let child = text.split(separator: " ").first.flatMap({ Int32($0) }) { return child }
      Thread.sleep(forTimeInterval: 0.05)
    }
    throw CancellationError()
  }
}
