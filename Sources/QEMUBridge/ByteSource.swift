// SPDX-License-Identifier: Apache-2.0
import Glibc
public import SystemPackage

/// Where a stream's bytes come from. Asked once for each fill of a parser's buffer, so a call may be costly.
public protocol ByteSource {
  /// Writes what there is to the start of `room`, which is not empty; waits until there is something.
  /// - Returns: bytes written; 0 at the end of the stream.
  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int

  /// The same, for a source that holds bytes back: without the next `count` the reader cannot go on.
  mutating func read(into room: UnsafeMutableRawBufferPointer, needing count: Int) throws(Errno) -> Int
}

extension ByteSource {
  public mutating func read(into room: UnsafeMutableRawBufferPointer, needing count: Int) throws(Errno) -> Int {
    unsafe try read(into: room)
  }
}

/// A file, a pipe or a socket: read(2).
public struct DescriptorSource: ByteSource {
  private let descriptor: FileDescriptor

  /// - Parameter descriptor: stays the caller's, who closes it.
  public init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

  public mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    do { return unsafe try descriptor.read(into: room) } catch { throw (error as? Errno) ?? .ioError }
  }
}

/// Bytes in memory.
public struct MemorySource: ByteSource {
  private var rest: ArraySlice<UInt8>
  private let byteCountMax: Int

  /// - Parameter byteCountMax: most bytes that a read gives.
  public init(_ bytes: [UInt8], byteCountMax: Int = .max) {
    precondition(byteCountMax > 0, "a read gives something")
    rest = bytes[...]
    self.byteCountMax = byteCountMax
  }

  public mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    let count = min(room.count, rest.count, byteCountMax)
    unsafe room.copyBytes(from: rest.prefix(count))
    rest = rest.dropFirst(count)
    return count
  }
}
