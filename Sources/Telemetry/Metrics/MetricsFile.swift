// SPDX-License-Identifier: Apache-2.0
import Glibc
public import SystemPackage

/// A file that always holds whole metrics: written beside its name, and renamed.
///
/// In the older text of Prometheus, because that is what node_exporter's textfile collector reads.
public struct MetricsFile: Sendable {
  public let path: String
  private let metrics: OpenMetricsFactory

  public init(path: String, metrics: OpenMetricsFactory) {
    self.path = path
    self.metrics = metrics
  }

  /// Writes what `metrics` say now.
  /// - Throws: the error of the system call that failed; the file is as it was.
  public func write() throws(Errno) { try write(metrics.text(.prometheus)) }

  /// What is being written; node_exporter reads `*.prom` only.
  private var temporary: String { path + ".pageferry-new" }

  /// Takes the place of what the file held.
  func write(_ text: String) throws(Errno) {
    do {
      let file = try FileDescriptor.open(
        FilePath(temporary), .writeOnly, options: [.create, .truncate, .closeOnExec, .noFollow],
        // node_exporter is another user.
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
      try file.closeAfter { _ = try file.writeAll(text.utf8) }
    } catch {
      _ = unsafe unlink(temporary)
      throw (error as? Errno) ?? .ioError
    }
    guard unsafe rename(temporary, path) == 0 else {
      let failure = Errno(rawValue: errno)
      _ = unsafe unlink(temporary)
      throw failure
    }
  }
}
