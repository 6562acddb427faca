// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// That somebody wants something to end, and why.
///
/// Signals have to be blocked before any other thread starts, which is before there is anything to cancel: this stands
/// between.
final class Cancellation: Sendable {
  private let flag = Atomic<Bool>(false)
  private let state = Mutex(State())

  private struct State {
    var reason: String?
    var action: (@Sendable (String) -> Void)?
  }

  /// The first reason counts.
  func cancel(_ reason: String) {
    let action = state.withLock { state in
      state.reason = state.reason ?? reason
      return state.action
    }
    flag.store(true, ordering: .releasing)
    action?(reason)
  }

  /// Has `action` called when it is cancelled; now, if it was already.
  func onCancel(_ action: @escaping @Sendable (String) -> Void) {
    let reason = state.withLock { state in
      state.action = action
      return state.reason
    }
    if let reason { action(reason) }
  }

  var isCancelled: Bool { flag.load(ordering: .acquiring) }
  var reason: String? { state.withLock { $0.reason } }
}
