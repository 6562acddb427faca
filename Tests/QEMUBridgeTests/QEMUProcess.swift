// SPDX-License-Identifier: Apache-2.0
import Foundation

/// A QEMU of this host, with a small machine that runs nothing but its firmware; spoken to by QMP.
final class QEMUProcess {
  static let path: String? = ["/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var received = Data()

  /// - Parameters:
  ///   - memoryFile: what the guest's RAM is, 16 MiB; nil: a memfd of its own.
  ///   - incoming: what to load: the address of a stream (`exec:cat file`), or `defer`.
  ///   - isShared: whether other processes can write its RAM.
  init(memoryFile: String?, incoming: String? = nil, isShared: Bool = true) throws {
    guard let path = Self.path else { throw Failure(description: "no QEMU") }
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments =
      [
        "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "16", "-qmp", "stdio", "-object",
        (memoryFile.map { "memory-backend-file,mem-path=\($0)" } ?? "memory-backend-memfd")
          + ",id=pc.ram,size=16M,share=\(isShared ? "on" : "off")", "-M", "pc,memory-backend=pc.ram",
      ] + (incoming.map { ["-S", "-incoming", $0] } ?? [])
    process.standardInput = input
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    _ = try line { $0["QMP"] != nil }
    try command("qmp_capabilities")
  }

  /// Runs a QMP command, and returns what it answers.
  @discardableResult func command(_ name: String, _ arguments: [String: Any] = [:]) throws -> [String: Any] {
    let object: [String: Any] = ["execute": name, "arguments": arguments]
    try input.fileHandleForWriting.write(contentsOf: try JSONSerialization.data(withJSONObject: object) + Data([10]))
    let answer = try line { $0["return"] != nil || $0["error"] != nil }
    if let error = answer["error"] { throw Failure(description: "\(name): \(error)") }
    return answer["return"] as? [String: Any] ?? [:]
  }

  /// Asks again until `isReached`, ten seconds at most.
  func wait(_ name: String, _ isReached: ([String: Any]) -> Bool) throws {
    for _ in 0..<200 {
      if isReached(try command(name)) { return }
      Thread.sleep(forTimeInterval: 0.05)
    }
    throw Failure(description: "\(name): not reached")
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
