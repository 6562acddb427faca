// SPDX-License-Identifier: Apache-2.0

/// Why a plan was refused, or the state of a guest that arrived.
public enum WorkloadError: Error, Equatable, Sendable, CustomStringConvertible {
  case unknownPattern(found: String)
  case badGrowth(found: String, allowed: ClosedRange<Int>)
  case badMix(found: String)
  case badThreadCount(found: Int, allowed: ClosedRange<Int>)
  case badRate(found: Double, allowed: ClosedRange<Double>)
  case badCompressibility(found: Int)
  case workingSetNotPages(field: String, found: UInt64)
  case workingSetOutside(offset: UInt64, byteCount: UInt64, guestByteCount: UInt64)
  case tooFewPages(found: Int, threadCount: Int)
  case stateCutShort(found: Int, expected: Int)
  case stateTooLong(found: Int, expected: Int)
  case notAState
  case stateVersion(found: Int, supported: Int)
  case stateDamaged
  case stateOfOtherGuest(found: UInt64, expected: UInt64)
  case badPosition(thread: Int, found: UInt64, allowed: Int)

  public var description: String {
    switch self {
    case .unknownPattern(let found):
      "unknown pattern '\(found)'; known: \(WorkloadPattern.names.joined(separator: ", "))"
    case .badGrowth(let found, let allowed):
      "pattern growing: '\(found)' is not a whole number of seconds from \(allowed.lowerBound) to \(allowed.upperBound)"
    case .badMix(let found):
      "'\(found)' is not a mix of content: three whole percentages zero:text:random that add up to 100, like 25:45:30"
    case .badThreadCount(let found, let allowed):
      "\(found) writer threads, \(allowed.lowerBound) to \(allowed.upperBound) are possible"
    case .badRate(let found, let allowed):
      "a rate of \(found) MB/s; 0 (as fast as possible) to \(Int(allowed.upperBound)) are possible"
    case .badCompressibility(let found): "\(found) % compressible; 0 to 100 are possible"
    case .workingSetNotPages(let field, let found):
      "the working set's \(field) of \(found) bytes is not a multiple of 4096"
    case .workingSetOutside(let offset, let count, let guest):
      "a working set of \(count) bytes from byte \(offset) on does not lie in a guest of \(guest) bytes"
    case .tooFewPages(let found, let threads):
      "\(threads) writer threads need a page each, the working set has \(found)"
    case .stateCutShort(let found, let expected): "the guest's state has \(found) bytes, \(expected) belong to it"
    case .stateTooLong(let found, let expected): "the guest's state has \(found) bytes, only \(expected) belong to it"
    case .notAState: "this is not the state of an embedded guest"
    case .stateVersion(let found, let supported):
      "the guest's state has version \(found), this side knows version \(supported)"
    case .stateDamaged: "the guest's state does not match its checksum"
    case .stateOfOtherGuest(let found, let expected):
      "the state is that of a guest with \(found) bytes of memory, this one has \(expected)"
    case .badPosition(let thread, let found, let allowed):
      "the state of writer thread \(thread) is at page \(found) of its \(allowed)"
    }
  }
}
