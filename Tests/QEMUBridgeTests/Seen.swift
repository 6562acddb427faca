// SPDX-License-Identifier: Apache-2.0
import SystemPackage
import TestSupport

@testable import QEMUBridge

/// An element with its bytes; parts of what comes in parts are put together.
struct Seen: Equatable {
  var kind: StreamElement.Kind
  var offset: UInt64
  var bytes: [UInt8]

  static func == (one: Seen, other: Seen) -> Bool {
    one.kind == other.kind && one.offset == other.offset && one.bytes[...].isSame(as: other.bytes[...])
  }

  /// Reads a stream to its end, or to its error.
  static func read(_ source: any ByteSource) -> (elements: [Seen], error: StreamError?) {
    var elements: [Seen] = []
    do throws(StreamError) {
      var reader = try StreamReader(source)
      while let element = try reader.next() {
        let bytes = reader.withElement { bytes in unsafe bytes.withUnsafeBytes { unsafe Array($0) } }
        if let last = elements.last, case .opaque = last.kind, case .opaque = element.kind {
          elements[elements.count - 1].bytes += bytes
        } else if let last = elements.last, case .packaged = last.kind, case .packaged = element.kind {
          elements[elements.count - 1] = Seen(kind: element.kind, offset: last.offset, bytes: last.bytes + bytes)
        } else {
          elements.append(Seen(kind: element.kind, offset: element.offset, bytes: bytes))
        }
      }
    } catch { return (elements, error) }
    return (elements, nil)
  }
}

/// Bytes that come in parts of random lengths.
struct RaggedSource: ByteSource {
  private var rest: ArraySlice<UInt8>
  private var generator: SeededGenerator
  private let longest: Int

  init(_ bytes: [UInt8], seed: UInt64, longest: Int) {
    rest = bytes[...]
    generator = SeededGenerator(seed: seed)
    self.longest = longest
  }

  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    let count = min(room.count, rest.count, Int.random(in: 1...longest, using: &generator))
    unsafe room.copyBytes(from: rest.prefix(count))
    rest = rest.dropFirst(count)
    return count
  }
}

/// Bytes, and then a failure.
struct FailingSource: ByteSource {
  private var source: MemorySource

  init(_ bytes: [UInt8]) { source = MemorySource(bytes) }

  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    let count = unsafe try source.read(into: room)
    if count == 0 { throw .ioError }
    return count
  }
}
