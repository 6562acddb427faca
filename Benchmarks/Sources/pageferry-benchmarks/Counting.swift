// SPDX-License-Identifier: Apache-2.0

/// Runs one gated case for callgrind.
enum Counting {
  /// Operations that are counted: what surrounds the loop disappears in the rounding, and the slowest case takes a
  /// second under valgrind.
  static let operationCount = 200

  /// Runs `body` inside `pageferry_counted`, and a little of it before.
  static func run(_ body: @escaping Body) {
    // Lazy globals and symbols that are bound at the first call belong to the process, not to an operation.
    sink(body(2))
    let work = Work(body)
    // SAFETY: `work` is alive until the call returns, and nothing keeps the pointer.
    withExtendedLifetime(work) { unsafe counted(Unmanaged.passUnretained(work).toOpaque()) }
  }
}

/// What is to be counted.
private final class Work {
  let body: Body
  init(_ body: @escaping Body) { self.body = body }
}

/// The function that `--toggle-collect` names. One for all cases: the compiler may clone a Swift function for its
/// arguments and leave its symbol uncalled, but it must call this one; a case's own cost over it is a few
/// instructions in 200 operations.
@c(pageferry_counted)
@inline(never)
func counted(_ work: UnsafeRawPointer) {
  // SAFETY: `run` passes the address of a Work that it keeps alive.
  let work = unsafe Unmanaged<Work>.fromOpaque(work).takeUnretainedValue()
  sink(work.body(Counting.operationCount))
}

/// Where results go, so that computing them is not for nothing.
@inline(never)
@_optimize(none)
func sink(_ value: UInt64) {}
