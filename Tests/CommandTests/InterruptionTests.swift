// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// What happens when a side is stopped, killed, or runs out of disk in the middle.
@Suite struct InterruptionTests {
  static let bytes = SamplePages.image(Array(repeating: .random, count: 2048), seed: 61)

  /// A sender and a receiver in the middle of a slow migration.
  private struct Pair {
    let folder = TemporaryDirectory()
    let receiver: Command.Running
    let sender: Command.Running

    var output: String { folder.file("b.raw") }

    init() throws {
      let image = try folder.write(InterruptionTests.bytes, to: "a.raw")
      receiver = try Command.start(["receive", folder.file("b.raw"), "--listen", "127.0.0.1:0", "--dead-peer", "4"])
      sender = try Command.start([
        "send", image, "127.0.0.1:\(try receiver.port())", "--codec", "none", "--bandwidth", "2MiB", "--dead-peer", "4",
      ])
      // 8 MiB at 2 MiB/s: a while after the two have met, it is under way.
      _ = try receiver.line(with: "session ")
      Thread.sleep(forTimeInterval: 0.4)
    }
  }

  @Test(
    "SIGINT and SIGTERM on either side cancel both cleanly",
    arguments: [(SIGINT, true), (SIGINT, false), (SIGTERM, true), (SIGTERM, false)])
  func signals(number: Int32, atSender: Bool) throws {
    let pair = try Pair()
    kill((atSender ? pair.sender : pair.receiver).process.processIdentifier, number)
    let started = Date()
    let (sent, received) = (pair.sender.finish(), pair.receiver.finish())
    #expect(Date().timeIntervalSince(started) < 2)
    #expect((atSender ? sent : received).code == 128 + number)
    #expect((atSender ? received : sent).code == 42, "\(sent.error) \(received.error)")
    #expect(!TemporaryDirectory.exists(pair.output))
    #expect(!TemporaryDirectory.exists(pair.output + ".pageferry-partial"))
  }

  @Test("A sender that is killed leaves a receiver that says so and keeps nothing")
  func senderKilled() throws {
    let pair = try Pair()
    kill(pair.sender.process.processIdentifier, SIGKILL)
    let received = pair.receiver.finish()
    _ = pair.sender.finish()
    #expect(received.code == 32)
    #expect(received.error.contains("closed the connection"), "\(received.error)")
    #expect(!TemporaryDirectory.exists(pair.output))
    #expect(!TemporaryDirectory.exists(pair.output + ".pageferry-partial"))
  }

  @Test("A receiver that is killed leaves a sender that says so, and nothing that looks whole")
  func receiverKilled() throws {
    let pair = try Pair()
    kill(pair.receiver.process.processIdentifier, SIGKILL)
    let sent = pair.sender.finish()
    _ = pair.receiver.finish()
    #expect(sent.code == 32)
    #expect(!TemporaryDirectory.exists(pair.output))
  }

  @Test("A receiver that hangs counts as lost when its time is up", .timeLimit(.minutes(1)))
  func receiverHangs() throws {
    let pair = try Pair()
    kill(pair.receiver.process.processIdentifier, SIGSTOP)
    let sent = pair.sender.finish()
    kill(pair.receiver.process.processIdentifier, SIGCONT)
    let received = pair.receiver.finish()
    #expect(sent.code == 32)
    #expect(sent.error.contains("said nothing"), "\(sent.error)")
    #expect(received.code == 32)
    #expect(!TemporaryDirectory.exists(pair.output))
  }

  static let canMount = geteuid() == 0 && FileManager.default.isExecutableFile(atPath: "/bin/mount")

  @Test("A full disk ends both sides with its own code", .enabled(if: canMount, "mounting a small tmpfs takes root"))
  func diskFull() throws {
    let folder = TemporaryDirectory()
    let disk = folder.file("disk")
    try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
    let mounted = try shell("mount -t tmpfs -o size=2m none \(disk)")
    defer {
      _ = try? shell("umount \(disk)")
      try? FileManager.default.removeItem(atPath: disk)
    }
    try #require(mounted == 0, "a tmpfs can be mounted")
    let image = try folder.write(Self.bytes, to: "a.raw")
    let receiver = try Command.start(["receive", disk + "/b.raw", "--listen", "127.0.0.1:0"])
    let sent = try Command.run(["send", image, "127.0.0.1:\(try receiver.port())", "--codec", "none"])
    let received = receiver.finish()
    #expect(sent.code == 21)
    #expect(sent.error.contains("disk is full"), "\(sent.error)")
    #expect(received.code == 21)
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
  }

  private func shell(_ line: String) throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", line]
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus
  }
}
