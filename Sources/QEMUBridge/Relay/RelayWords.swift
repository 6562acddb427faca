// SPDX-License-Identifier: Apache-2.0
import Migration

/// How far the lanes have come: an iteration is complete when all of them have.
struct LaneMarks {
  private var last: [UInt32]
  /// The last iteration that is complete.
  private(set) var complete: UInt32 = 0

  init(laneCount: Int) { last = Array(repeating: 0, count: laneCount) }

  /// - Returns: the last complete iteration, if that is another than before.
  mutating func note(_ lane: Int, _ iteration: UInt32) throws(MigrationFailure) -> UInt32? {
    guard last.indices.contains(lane), iteration > last[lane], iteration - last[lane] == 1 else {
      throw MigrationFailure(.protocolViolation, "lane \(lane) has ended iteration \(iteration) unduly")
    }
    last[lane] = iteration
    guard let least = last.min(), least > complete else { return nil }
    complete = least
    return complete
  }
}

/// What a hypervisor answers, as far as it matters here: `be16 type, be16 length, data`.
struct ReturnPath {
  private var bytes: [UInt8] = []
  private var isLost = false

  /// The number of the last pong among further bytes, if there is one.
  mutating func pong(in more: ArraySlice<UInt8>) -> UInt32? {
    guard !isLost else { return nil }
    bytes += more
    var found: UInt32?
    var at = 0
    while bytes.count - at >= 4 {
      let type = Int(bytes[at]) << 8 | Int(bytes[at + 1])
      let count = Int(bytes[at + 2]) << 8 | Int(bytes[at + 3])
      // Only pongs are expected while this matters.
      guard type == 2, count == 4 else {
        isLost = true
        bytes = []
        return found
      }
      guard bytes.count - at >= 8 else { break }
      found = bytes[at + 4..<at + 8].reduce(0) { $0 << 8 | UInt32($1) }
      at += 8
    }
    bytes.removeFirst(at)
    return found
  }
}
