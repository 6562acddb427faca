// SPDX-License-Identifier: Apache-2.0

/// What a writer thread knows: it travels with the guest, and the guest's memory has to agree with it.
struct WriterRecord: Sendable, Equatable {
  /// State of its random numbers.
  var random: UInt64
  /// Of its own pages: the next one to write (`sequential`), or how many are in use (`growing`).
  var position: UInt64 = 0
  /// Writes of pages so far: the sum of its pages' generations.
  var writes: UInt64 = 0
  /// Sum of what its pages in their generations come to (``MarkedPage/share(_:)``).
  var sum: UInt64 = 0
  /// Nanoseconds that it has run: not paused, not throttled.
  var runNanoseconds: UInt64 = 0
  /// When it wrote last, on this host's monotonic clock; 0 if never, or on another host.
  var lastWrite: UInt64 = 0

  init(random: UInt64) { self.random = random }

  /// What a thread begins with.
  init(seed: UInt64, thread: Int) {
    random = Scramble.hash(seed &+ UInt64(thread + 1) &* Scramble.other)
  }
}
