// SPDX-License-Identifier: Apache-2.0
import Foundation
import HostSystem
import TestSupport
import Testing

/// Whether there are two CPUs to tell apart; said aloud where not.
private let twoCPUs: [Int]? = {
  let cpus = Array(HostThread.allowedCPUSet.numbers.prefix(2))
  if cpus.count < 2 { print("SKIPPED: --pin cpu on two CPUs: this process may use only \(cpus.count)") }
  return cpus.count == 2 ? cpus : nil
}()

@Suite struct PlacementCommandTests {
  /// A thread of another process, as /proc tells.
  private struct Task: Equatable {
    var cpus: String
    var niceness: Int
    /// 3 is SCHED_BATCH.
    var policy: Int
  }

  private func tasks(of process: Int32) -> [String: Task] {
    let folder = "/proc/\(process)/task"
    var found: [String: Task] = [:]
    for task in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
      guard let status = try? String(contentsOfFile: "\(folder)/\(task)/status", encoding: .utf8),
        let stat = try? String(contentsOfFile: "\(folder)/\(task)/stat", encoding: .utf8),
        let rest = stat.split(separator: ")").last?.split(separator: " "), rest.count > 38
      else { continue }
      func field(_ name: String) -> String {
        let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") }
        return line.map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) } ?? ""
      }
      // Counted from the state, which is field 3 of the file: nice is 19, the policy 41.
      found[field("Name")] = Task(
        cpus: field("Cpus_allowed_list"), niceness: Int(rest[16]) ?? -99, policy: Int(rest[38]) ?? -99)
    }
    return found
  }

  /// Looks until `expected` is what is found of those threads, or 5 s have passed.
  private func await(_ expected: [String: Task], of running: Command.Running) -> [String: Task] {
    var found: [String: Task] = [:]
    for _ in 0..<250 {
      found = tasks(of: running.process.processIdentifier).filter { expected.keys.contains($0.key) }
      if found == expected { break }
      Thread.sleep(forTimeInterval: 0.02)
    }
    return found
  }

  @Test(
    "Each worker of a migration has its CPU, its nice value and its policy, on both sides",
    .enabled(if: twoCPUs != nil, "two CPUs are needed"))
  func everyThread() throws {
    let cpus = try #require(twoCPUs)
    let folder = TemporaryDirectory()
    let image = try folder.write(SamplePages.image(Array(repeating: .random, count: 1024), seed: 3), to: "a.raw")
    let options = ["--quiet", "--pin", "cpu", "--cpus", "\(cpus[0]),\(cpus[1])"]
    let receiver = try Command.start(
      ["receive", "--discard", "--populate", "--listen", "127.0.0.1:0", "--pin", "cpu", "--batch", "--decoders", "1"]
        + ["--cpus", "\(cpus[0]),\(cpus[1])"])
    let port = try receiver.port()
    let sender = try Command.start(
      ["send", image, "127.0.0.1:\(port)", "--codec", "none", "--bandwidth", "2MiB", "--nice", "5"] + options)
    let lanes = [
      "pf-lane-0": Task(cpus: "\(cpus[0])", niceness: 5, policy: 0),
      "pf-lane-1": Task(cpus: "\(cpus[1])", niceness: 5, policy: 0),
    ]
    #expect(self.await(lanes, of: sender) == lanes)
    let receivers = [
      "pf-recv-1": Task(cpus: "\(cpus[0])", niceness: 0, policy: 3),
      "pf-recv-2": Task(cpus: "\(cpus[1])", niceness: 0, policy: 3),
      "pf-decode-1": Task(cpus: "\(cpus[0])", niceness: 0, policy: 3),
      "pf-decode-2": Task(cpus: "\(cpus[1])", niceness: 0, policy: 3),
    ]
    #expect(self.await(receivers, of: receiver) == receivers)
    let main = try #require(tasks(of: sender.process.processIdentifier)["pageferry"])
    #expect(main.niceness == 0 && main.policy == 0, "workers alone stand back")
    kill(sender.process.processIdentifier, SIGTERM)
    #expect(sender.finish().code == 143)
    #expect(receiver.finish().code == 42)
  }

  @Test("One CPU: everything runs there, the report says so, and the image arrives")
  func oneCPU() throws {
    let cpu = try #require(HostThread.allowedCPUSet.numbers.last)
    let folder = TemporaryDirectory()
    let content = SamplePages.mixedImage(pageCount: 700, seed: 5)
    let image = try folder.write(content, to: "a.raw")
    let receiver = try Command.start([
      "receive", folder.file("b.raw"), "--listen", "127.0.0.1:0", "--cpus", "\(cpu)", "--pin", "cpu",
    ])
    let port = try receiver.port()
    let sent = try Command.run([
      "send", image, "127.0.0.1:\(port)", "--quiet", "--json", "--cpus", "\(cpu)", "--pin", "node", "--channels", "1",
    ])
    #expect(sent.code == 0, "\(sent.error)")
    #expect(receiver.finish().code == 0)
    #expect(try TemporaryDirectory.read(folder.file("b.raw")) == content)
    let report = try #require(JSONSerialization.jsonObject(with: Data(sent.output.utf8)) as? [String: Any])
    let placement = try #require(report["placement"] as? [String: Any])
    #expect(placement["policy"] as? String == "node")
    let threads = try #require(placement["threads"] as? [String])
    #expect(!threads.isEmpty && threads.allSatisfy { $0.contains(", CPU \(cpu)") }, "\(threads)")
    #expect(report["lanes"] as? Int == 1, "one CPU has one worker")
  }

  @Test("doctor shows where threads would run, as text and as JSON")
  func doctor() throws {
    let cpu = try #require(HostThread.allowedCPUSet.numbers.last)
    let shown = try Command.run(["doctor", "--pin", "cpu", "--cpus", "\(cpu)"])
    #expect(shown.code == 0)
    let lines = shown.output.split(separator: "\n").map {
      $0.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
    #expect(lines.contains { $0.hasPrefix("ok NUMA node ") })
    #expect(lines.contains { $0.hasPrefix("ok sender 1 ") || $0.hasPrefix("ok senders 1-2 ") }, "\(shown.output)")
    let json = try JSONSerialization.jsonObject(
      with: Data(try Command.run(["doctor", "--json", "--pin", "cpu", "--cpus", "\(cpu)"]).output.utf8))
    let plan = try #require(json as? [[String: Any]]).filter { $0["area"] as? String == "placement" }
    #expect(
      plan.contains {
        ($0["name"] as? String)?.hasPrefix("lane") == true && ($0["value"] as? String)?.contains("CPU \(cpu)") == true
      },
      "\(plan)")
  }

  @Test(
    "Options that make no sense end with one line that says what is wrong",
    arguments: [
      (["--cpus", "8191"], "none of CPUs 8191 may be used here"), (["--cpus", "3-1"], "ends before it begins"),
      (["--cpus", "a,b"], "'a'"), (["--cpus", ""], "the list of CPUs is empty"), (["--pin", "socket"], "socket"),
      (["--nice", "20"], "-20 to 19"), (["--nice", "-21"], "-20 to 19"),
    ])
  func wrongOptions(options: [String], reason: String) throws {
    let ended = try Command.run(["send", "/dev/null", "127.0.0.1:1"] + options)
    #expect(ended.code == 64)
    #expect(ended.error.contains(reason), "\(ended.error)")
  }
}
