// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing

/// Runs the `pageferry` that was built beside these tests.
enum Command {
  struct Ended {
    let code: Int32
    let output: String
    let error: String
  }

  static var path: String {
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    // The runner may be a helper of the toolchain; then the tests' own bundle is on its command line.
    let beside = own.appendingPathComponent("pageferry").path
    if FileManager.default.isExecutableFile(atPath: beside) { return beside }
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? ""
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("pageferry").path
  }

  /// A command under way.
  final class Running: Sendable {
    let process: Process
    private let output = Pipe()
    private let error = Pipe()
    private let errorText = Mutex("")
    private let outputText = Mutex("")

    fileprivate init(_ arguments: [String]) throws {
      process = Process()
      process.executableURL = URL(fileURLWithPath: Command.path)
      process.arguments = arguments
      process.standardOutput = output
      process.standardError = error
      process.standardInput = FileHandle.nullDevice
      try process.run()
    }

    /// The port that a receiver says it listens on.
    func port(after words: String = "waiting for a sender") throws -> Int {
      try #require(Int(try line(with: words).split(separator: ":").last ?? ""))
    }

    /// The first line on standard error that has `words`, once it is there.
    func line(with words: String) throws -> String {
      func found(_ text: String) -> String? {
        text.split(separator: "\n").first { $0.contains(words) }.map(String.init)
      }
      if let line = found(errorText.withLock { $0 }) { return line }
      while true {
        let chunk = error.fileHandleForReading.availableData
        try #require(!chunk.isEmpty, "it ended: \(errorText.withLock { $0 })")
        let text = errorText.withLock { text in
          text += String(decoding: chunk, as: UTF8.self)
          return text
        }
        if let line = found(text) { return line }
      }
    }

    /// Waits until it has printed something.
    func waitForOutput() throws {
      let chunk = output.fileHandleForReading.availableData
      try #require(!chunk.isEmpty, "it ended: \(errorText.withLock { $0 })")
      outputText.withLock { $0 += String(decoding: chunk, as: UTF8.self) }
    }

    /// Waits for the end.
    func finish() -> Ended {
      let outputData = output.fileHandleForReading.readDataToEndOfFile()
      let errorData = error.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      // A process that a signal killed has that signal as its status.
      let code = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
      return Ended(
        code: code, output: outputText.withLock { $0 } + String(decoding: outputData, as: UTF8.self),
        error: errorText.withLock { $0 } + String(decoding: errorData, as: UTF8.self))
    }
  }

  static func start(_ arguments: [String]) throws -> Running { try Running(arguments) }

  static func run(_ arguments: [String]) throws -> Ended { try Running(arguments).finish() }
}
