// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport

/// A QEMU of this host, with a small machine that runs nothing but its firmware, unless it is told to; spoken to by QMP.
final class QEMUProcess {
  /// The program, and words that it needs (`-L DIR`): `$PAGEFERRY_QEMU`, or the one that is installed.
  private static let command: [String]? = {
    if let words = ProcessInfo.processInfo.environment["PAGEFERRY_QEMU"], !words.isEmpty {
      return words.split(separator: " ").map(String.init)
    }
    return ["/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64"]
      .first { FileManager.default.isExecutableFile(atPath: $0) }.map { [$0] }
  }()
  static let path: String? = command?.first
  /// RAM unless it is told: no multiple of 256 KiB, with which QEMU before 9.0 loses writes of an emulated guest that runs
  /// while it is migrated.
  static let ramByteCount = (16 << 20) - 8192

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var received = Data()

  /// - Parameters:
  ///   - memoryFile: what the guest's RAM is; nil: a memfd of its own.
  ///   - byteCount: of RAM; a multiple of 8 KiB.
  ///   - incoming: what to load: the address of a stream (`exec:cat file`), or `defer`.
  ///   - isHeld: whether what was loaded waits for `cont`.
  ///   - isShared: whether other processes can write its RAM.
  ///   - words: of its command line, besides.
  init(
    memoryFile: String?, byteCount: Int = ramByteCount, incoming: String? = nil, isHeld: Bool = true,
    isShared: Bool = true, words: [String] = []
  ) throws {
    guard let command = Self.command, let path = command.first else { throw Failure(description: "no QEMU") }
    process.executableURL = URL(fileURLWithPath: path)
    let size = "\(byteCount >> 10)K"
    process.arguments =
      command.dropFirst() + [
        "-accel", "tcg", "-nodefaults", "-no-reboot", "-display", "none", "-m", size, "-qmp", "stdio", "-object",
        (memoryFile.map { "memory-backend-file,mem-path=\($0)" } ?? "memory-backend-memfd")
          + ",id=pc.ram,size=\(size),share=\(isShared ? "on" : "off")", "-M", "pc,memory-backend=pc.ram",
      ] + (incoming.map { ["-incoming", $0] + (isHeld ? ["-S"] : []) } ?? []) + words
    process.standardInput = input
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    _ = try line { $0["QMP"] != nil }
    try self.command("qmp_capabilities")
  }

  /// Runs a QMP command, and returns what it answers.
  @discardableResult func command(_ name: String, _ arguments: [String: Any] = [:]) throws -> [String: Any] {
    try answer(name, arguments)["return"] as? [String: Any] ?? [:]
  }

  private func answer(_ name: String, _ arguments: [String: Any] = [:]) throws -> [String: Any] {
    let object: [String: Any] = ["execute": name, "arguments": arguments]
    try input.fileHandleForWriting.write(contentsOf: try JSONSerialization.data(withJSONObject: object) + Data([10]))
    let answer = try line { $0["return"] != nil || $0["error"] != nil }
    if let error = answer["error"] { throw Failure(description: "\(name): \(error)") }
    return answer
  }

  /// Asks again until `isReached`, as long as something that hangs can be told from a host that is busy.
  func wait(_ name: String, seconds: Int = 60, _ isReached: ([String: Any]) -> Bool) throws {
    var last: [String: Any] = [:]
    for _ in 0..<seconds * 20 {
      last = try command(name)
      if isReached(last) { return }
      Thread.sleep(forTimeInterval: 0.05)
    }
    throw Failure(description: "\(name): not reached: \(last)")
  }

  /// Asks again until its status is one of these.
  func wait(until statuses: String..., seconds: Int = 60) throws {
    try wait("query-status", seconds: seconds) { statuses.contains($0["status"] as? String ?? "") }
  }

  /// Switches capabilities on, and lifts the bandwidth limit.
  func configure(_ capabilities: [String], _ parameters: [String: Any] = [:]) throws {
    let list = capabilities.map { ["capability": $0, "state": true] as [String: Any] }
    if !list.isEmpty { try command("migrate-set-capabilities", ["capabilities": list]) }
    try command("migrate-set-parameters", ["max-bandwidth": 10_000_000_000].merging(parameters) { $1 })
  }

  /// Whether it has all these capabilities.
  func offers(_ capabilities: [String]) throws -> Bool {
    let known = try answer("query-migrate-capabilities")["return"] as? [[String: Any]] ?? []
    return capabilities.allSatisfy { name in known.contains { $0["capability"] as? String == name } }
  }

  /// How a migration of its guest stands: `active`, `completed`, `failed` …
  var migration: String { get throws { try command("query-migrate")["status"] as? String ?? "none" } }

  /// Waits until a migration of its guest has ended.
  /// - Returns: how.
  func waitForMigration(seconds: Int = 120) throws -> String {
    var status = ""
    try wait("query-migrate", seconds: seconds) {
      status = $0["status"] as? String ?? ""
      return ["completed", "failed", "cancelled"].contains(status)
    }
    return status
  }

  /// Waits until a migration of its guest has sent so many bytes, and goes on.
  func waitForMiddle(sent byteCount: Int) throws {
    try wait("query-migrate") {
      let sent = ($0["ram"] as? [String: Any])?["transferred"] as? Int ?? 0
      return $0["status"] as? String == "active" && sent >= byteCount
    }
  }

  /// The guest's RAM as QEMU itself gives it.
  func savedMemory(in folder: TemporaryDirectory, as name: String) throws -> [UInt8] {
    try command("pmemsave", ["val": 0, "size": Self.ramByteCount, "filename": folder.file(name)])
    return try TemporaryDirectory.read(folder.file(name))
  }

  /// Whether no guest runs in it, after a migration to it has failed: it has ended, or still waits for one.
  func hasNoGuest() -> Bool {
    for _ in 0..<100 {
      guard isRunning, let status = try? command("query-status")["status"] as? String else { return true }
      if !["inmigrate", "prelaunch"].contains(status) { return false }
      Thread.sleep(forTimeInterval: 0.05)
    }
    return true
  }

  private func line(_ isWanted: ([String: Any]) -> Bool) throws -> [String: Any] {
    while true {
      while let end = received.firstIndex(of: 10) {
        let object = try JSONSerialization.jsonObject(with: received[received.startIndex..<end])
        received = Data(received[(end + 1)...])
        if let object = object as? [String: Any], isWanted(object) { return object }
      }
      let chunk = output.fileHandleForReading.availableData
      guard !chunk.isEmpty else { throw Failure(description: "QEMU has ended") }
      received += chunk
    }
  }

  /// Whether it has not ended.
  var isRunning: Bool { process.isRunning }

  /// Ends it, and waits until it has. By SIGKILL: what the tests' threads block, QEMU inherits.
  func end() {
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}
