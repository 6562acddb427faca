// SPDX-License-Identifier: Apache-2.0

/// Which zero-copy sends of a socket are not done yet.
///
/// The kernel numbers successful sends in 32 bits, from 0 again after the last, and tells ranges of numbers.
struct ZeroCopyLedger {
  /// The number of the next send.
  private var next: UInt32
  /// Sends whose completion has not come.
  private(set) var outstanding = 0

  init(next: UInt32 = 0) { self.next = next }

  /// A send was made.
  mutating func noteSend() {
    next &+= 1
    outstanding += 1
  }

  /// Sends `first` to `last` are done.
  /// - Returns: how many; 0 if they were not under way.
  mutating func noteDone(first: UInt32, last: UInt32) -> Int {
    let age = next &- first
    let count = Int(last &- first) + 1
    guard age > 0, Int(age) <= Int(Int32.max), count <= Int(age), count <= outstanding else { return 0 }
    outstanding -= count
    return count
  }
}
