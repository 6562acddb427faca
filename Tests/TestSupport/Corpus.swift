// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The inputs under `Tests/Corpus`: the fuzzers' seeds, and every input that once broke a decoder.
public enum Corpus {
  /// The repository, as this file was compiled.
  public static let repository = directory(of: directory(of: directory(of: #filePath)))

  /// The paths of a decoder's inputs, sorted.
  public static func files(_ decoder: String) -> [String] {
    let folder = "\(repository)/Tests/Corpus/\(decoder)"
    return names(of: folder).map { "\(folder)/\($0)" }
  }

  /// The names in a directory that do not begin with a dot, sorted.
  static func names(of folder: String) -> [String] {
    guard let directory = unsafe opendir(folder) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }

  private static func directory(of path: String) -> String {
    String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])
  }
}
