// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// A host's `/sys` and `/proc`, as far as they were recorded: a directory with the same files, for as long as this lives.
///
/// `Tests/Hosts` has the recordings: a line per file, path, tab, content, with `\n` for a line end.
public final class RecordedHost: Sendable {
  /// Where `sys` and `proc` are.
  public let root: String
  private let directory = TemporaryDirectory()

  /// Of a recording, by its name.
  public init(_ name: String) throws {
    root = directory.path
    let text = String(
      decoding: try TemporaryDirectory.read("\(Corpus.repository)/Tests/Hosts/\(name).txt"), as: UTF8.self)
    for line in text.split(separator: "\n") where line.first == "/" {
      let parts = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      try add(String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
    }
  }

  /// Of files that are given: content by path.
  public init(files: [String: String]) throws {
    root = directory.path
    for (path, content) in files { try add(path, content) }
  }

  /// Every recording's name.
  public static var names: [String] {
    Corpus.names(of: "\(Corpus.repository)/Tests/Hosts").filter { $0.hasSuffix(".txt") }.map { String($0.dropLast(4)) }
  }

  private func add(_ path: String, _ content: String) throws {
    var folder = root
    for step in path.split(separator: "/").dropLast() {
      folder += "/\(step)"
      _ = unsafe mkdir(folder, 0o700)
    }
    // In two characters in the recording.
    let lines = content.split(separator: "\\n", omittingEmptySubsequences: false).joined(separator: "\n")
    try directory.write(Array((lines + "\n").utf8), to: String(path.drop { $0 == "/" }))
  }
}
