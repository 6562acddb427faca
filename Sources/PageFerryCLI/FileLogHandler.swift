// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Logging
import PageFerry
import SystemPackage

/// Log records as lines of a file, each with the time: `2026-11-21T21:40:03Z info: iteration 2: …`.
struct FileLogHandler: LogHandler {
  var metadata = Logger.Metadata()
  var logLevel = Logger.Level.info
  private let file: FileDescriptor

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// - Throws: an exit with one line, if the file cannot be written.
  static func logger(path: String) throws -> Logger {
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(
        FilePath(path), .writeOnly, options: [.create, .append], permissions: [.ownerReadWrite, .groupRead])
    } catch {
      throw Outcome.exit(MigrationFailure(.optionRefused, "the log \(path) cannot be written: \(error) (--log)"))
    }
    return Logger(label: "pageferry") { _ in FileLogHandler(file: file) }
  }

  private init(file: FileDescriptor) { self.file = file }

  func log(event: LogEvent) {
    // A disk that is full must not end a migration.
    _ = try? file.writeAll("\(Self.now) \(event.level): \(event.message)\n".utf8)
  }

  private static var now: String {
    var seconds = time(nil)
    var parts = unsafe tm()
    guard unsafe gmtime_r(&seconds, &parts) != nil else { return "-" }
    func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return unsafe "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
      + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }
}
