// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

private let refusal: String? = {
  if let refusal = CPUGroup.refusal { print("SKIPPED: 'pageferry throttle' with a control group: \(refusal)") }
  return CPUGroup.refusal
}()

/// `pageferry throttle`, and that a process always gets its speed back.
@Suite(.serialized) struct ThrottleCommandTests {
  private func start(_ guest: BusyProcess, _ options: String...) throws -> Command.Running {
    try Command.start(["throttle", "--pid", "\(guest.pid)"] + options)
  }

  @Test("Killed with -9 while it holds the process stopped: the process runs again within 100 ms")
  func killedBySignals() throws {
    let guest = try BusyProcess()
    let command = try start(guest, "--percent", "95", "--method", "signals")
    for _ in 0..<10 { _ = try #require(guest.wait(stopped: true, limit: 5)) }
    kill(command.process.processIdentifier, SIGKILL)
    let waited = try #require(guest.wait(stopped: false, limit: 2))
    #expect(waited < 0.1, "\(waited) s")
    #expect(guest.stoppedShare(over: 0.3) == 0)
    #expect(command.finish().code == -SIGKILL)
    #expect(try leftovers(guest).isEmpty)
  }

  @Test("Killed with -9: the control group has its quota again within 100 ms", .enabled(if: refusal == nil))
  func killedByQuota() throws {
    let group = try CPUGroup()
    let guest = try BusyProcess()
    defer {
      guest.end()
      group.remove()
    }
    try group.add(guest.pid)
    try group.setQuota(time: 190_000, period: 100_000)
    let command = try start(guest, "--percent", "80", "--method", "cgroup")
    try wait(5) { try group.quota() != "190000 100000" }
    kill(command.process.processIdentifier, SIGKILL)
    let killed = Date()
    try wait(2) { try group.quota() == "190000 100000" }
    let waited = Date().timeIntervalSince(killed)
    #expect(waited < 0.1, "\(waited) s")
    _ = command.finish()
    #expect(try leftovers(guest).isEmpty)
  }

  @Test("SIGINT, SIGTERM and SIGHUP release, too", arguments: [SIGINT, SIGTERM, SIGHUP])
  func interrupted(number: Int32) throws {
    let guest = try BusyProcess()
    let command = try start(guest, "--percent", "90", "--method", "signals", "--quiet")
    _ = try #require(guest.wait(stopped: true, limit: 5))
    kill(command.process.processIdentifier, number)
    let ended = command.finish()
    #expect(ended.code == 128 + number, "\(ended.error)")
    #expect(guest.stoppedShare(over: 0.1) == 0)
    #expect(try leftovers(guest).isEmpty)
  }

  @Test("For a while: a line a second, and an end")
  func forAWhile() throws {
    let guest = try BusyProcess()
    let ended = try Command.run([
      "throttle", "--pid", "\(guest.pid)", "--percent", "50", "--for", "1.1", "--method", "signals",
    ])
    #expect(ended.code == 0, "\(ended.error)")
    #expect(ended.output.hasPrefix("1 s  throttled ") && ended.output.contains("asked 50 %"), "\(ended.output)")
    #expect(ended.error.contains("runs at full speed again"))
    #expect(guest.stoppedShare(over: 0.1) == 0)
  }

  @Test("A process that ends, ends it")
  func guestEnds() throws {
    let guest = try BusyProcess()
    let command = try start(guest, "--percent", "30", "--method", "signals")
    _ = try #require(guest.wait(stopped: true, limit: 5))
    guest.end()
    let ended = command.finish()
    #expect(ended.code == 0 && ended.error.contains("has ended"), "\(ended.error)")
  }

  @Test("Refusals are one line and code 17")
  func refused() throws {
    let guest = try BusyProcess("exec sleep 60")
    for (pid, method) in [(4_194_305, "signals"), (Int(guest.pid), "cgroup")] {
      let ended = try Command.run(["throttle", "--pid", "\(pid)", "--percent", "50", "--method", method])
      #expect(ended.code == 17, "\(ended.error)")
      #expect(ended.error.split(separator: "\n").count == 1 && ended.output.isEmpty, "\(ended.error)")
    }
  }

  @Test(
    "Options that make no sense",
    arguments: [
      ["--percent", "50"], ["--pid", "1", "--percent", "50"], ["--pid", "5", "--percent", "100"], ["--pid", "5"],
      ["--pid", "5", "--percent", "-1"], ["--pid", "5", "--percent", "50", "--for", "0"],
      ["--pid", "5", "--percent", "50", "--method", "prayer"], ["--pid", "99999999999", "--percent", "50"],
      ["--pid", "5", "--percent", "50", "--for", "nan"],
    ])
  func options(arguments: [String]) throws {
    let ended = try Command.run(["throttle"] + arguments)
    #expect(ended.code == 64 && !ended.error.isEmpty && ended.output.isEmpty, "\(ended.code) \(ended.error)")
  }

  @Test("A guardian that nobody needs ends by itself")
  func loneGuardian() throws {
    // Standard input is /dev/null.
    #expect(try Command.run(["throttle-guardian"]).code == 1)
  }

  /// Records of throttles of a process, where a command keeps them. The guardian takes a moment.
  private func leftovers(_ guest: BusyProcess) throws -> [String] {
    let home = ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"] ?? "/nonexistent"
    let folder = (geteuid() == 0 ? "/run" : home) + "/pageferry"
    var found: [String] = []
    for _ in 0..<50 {
      found = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
        .filter { $0.hasPrefix("throttle-\(guest.pid)-") }
      if found.isEmpty { break }
      Thread.sleep(forTimeInterval: 0.02)
    }
    return found
  }

  private func wait(_ limit: Double, until condition: () throws -> Bool) throws {
    let end = Date() + limit
    while try !condition() {
      try #require(Date() < end, "it takes too long")
      usleep(500)
    }
  }
}
