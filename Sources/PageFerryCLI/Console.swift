// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Logging
import Migration
import Synchronization

/// Standard error, for people: log lines, and one progress line that is rewritten in place on a terminal.
final class Console: Sendable {
  static let shared = Console()

  /// Whether standard error is a terminal.
  let isTerminal = isatty(STDERR_FILENO) == 1
  private let progressShown = Mutex(false)

  /// Prints a line.
  func print(_ line: String) {
    progressShown.withLock { shown in
      Self.write((shown ? "\r\u{1b}[K" : "") + line + "\n")
      shown = false
    }
  }

  /// Shows `line` in place of the last progress line.
  func showProgress(_ line: String) {
    progressShown.withLock { shown in
      Self.write("\r\(line)\u{1b}[K")
      shown = true
    }
  }

  /// Takes the progress line away.
  func clearProgress() {
    progressShown.withLock { shown in
      if shown { Self.write("\r\u{1b}[K") }
      shown = false
    }
  }

  private static func write(_ text: String) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}

/// Log records as plain lines on the console: `pageferry: warning: …`.
struct ConsoleLogHandler: LogHandler {
  var metadata = Logger.Metadata()
  var logLevel: Logger.Level

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let prefix = event.level >= .warning ? "pageferry: \(event.level): " : "pageferry: "
    Console.shared.print(prefix + "\(event.message)")
  }

  static func logger(quiet: Bool) -> Logger {
    Logger(label: "pageferry") { _ in ConsoleLogHandler(logLevel: quiet ? .error : .info) }
  }
}
