// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Why a file could not be written.
struct WriteError: Error { let path: String }

/// Writes `DIRECTORY/<name>.bin`.
/// - Returns: the file's path.
@discardableResult func write(_ bytes: [UInt8], to directory: String, name: String) throws(WriteError) -> String {
  _ = unsafe mkdir(directory, 0o755)
  let path = "\(directory)/\(name).bin"
  guard let file = unsafe fopen(path, "w") else { throw WriteError(path: path) }
  let written = unsafe fwrite(bytes, 1, bytes.count, file)
  guard unsafe fclose(file) == 0, written == bytes.count else { throw WriteError(path: path) }
  return path
}
