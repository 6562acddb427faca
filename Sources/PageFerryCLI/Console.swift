// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Logging
import Migration
import Synchronization

/// Standard error, for people: log lines, and a line or a screen of progress that is rewritten in place on a terminal.
final class Console: Sendable {
  static let shared = Console()

  /// Whether standard error is a terminal.
  let isTerminal = isatty(STDERR_FILENO) == 1
  /// Lines of progress that stand at the bottom of the terminal.
  private let progressShown = Mutex(0)

  /// Prints a line.
  func print(_ line: String) {
    progressShown.withLock { shown in
      Self.write(Self.erase(shown) + line + "\n")
      shown = 0
    }
  }

  /// Shows `line` in place of the last progress line.
  func showProgress(_ line: String) {
    progressShown.withLock { shown in
      Self.write("\r\(line)\u{1b}[K")
      shown = max(shown, 1)
    }
  }

  /// Shows `lines` in place of those shown before; each is cut at the terminal's width, and all at its height.
  func showScreen(_ lines: [String]) {
    let (width, height) = Self.size
    let lines = lines.prefix(height)
    progressShown.withLock { shown in
      Self.write(Self.erase(shown) + lines.map { String($0.prefix(width)) }.joined(separator: "\n"))
      shown = lines.count
    }
  }

  /// What takes `count` lines of progress away, the cursor being in the last.
  private static func erase(_ count: Int) -> String {
    switch count {
    case 0: ""
    case 1: "\r\u{1b}[K"
    default: "\r\u{1b}[\(count - 1)A\u{1b}[J"
    }
  }

  /// Columns and rows of the terminal that can be written to.
  private static var size: (width: Int, height: Int) {
    var size = winsize()
    guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20, size.ws_row > 5 else {
      return (100, 50)
    }
    return (Int(size.ws_col) - 1, Int(size.ws_row) - 1)
  }

  /// Prints a line on standard output at once, for whoever reads along.
  static func output(_ line: String) {
    write(line + "\n", to: STDOUT_FILENO)
  }

  /// Takes the progress line away.
  func clearProgress() {
    progressShown.withLock { shown in
      Self.write(Self.erase(shown))
      shown = 0
    }
  }

  private static func write(_ text: String, to file: CInt = STDERR_FILENO) {
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(file, $0.baseAddress, $0.count) }
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
