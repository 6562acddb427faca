// SPDX-License-Identifier: Apache-2.0

/// What the command line asks for: `soak kernels [--pairs N] [--seconds N] [--seed N] [--output DIRECTORY]`.
struct Options {
  /// Where a mismatch's pages go.
  var output = "."
  /// How many are enough, or nil: as many as the time allows.
  var pairCount: UInt64?
  /// How long is enough, or nil: until there are enough pairs.
  var seconds: UInt64?
  var seed = UInt64.random(in: 1...UInt64(UInt32.max))

  /// - Returns: nil for a command line that cannot be understood.
  init?(_ arguments: some Collection<String>) {
    var left = Array(arguments)[...]
    guard left.popFirst() == "kernels" else { return nil }
    while let name = left.popFirst() {
      guard let value = left.popFirst() else { return nil }
      switch (name, UInt64(value)) {
      case ("--pairs", let count?) where count > 0: pairCount = count
      case ("--seconds", let count?) where count > 0: seconds = count
      case ("--seed", let number?): seed = number
      case ("--output", _): output = value
      default: return nil
      }
    }
    if pairCount == nil, seconds == nil { seconds = 60 }
  }
}
