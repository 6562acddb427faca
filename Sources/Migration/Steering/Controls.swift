// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// What an operator has set and ordered: written by any thread, followed by the session's.
final class Controls: Sendable {
  struct State {
    var settings: MigrationSettings
    /// Grows with each change of the settings.
    var generation: UInt64 = 1
    /// Orders that have not been carried out yet, the oldest first.
    var orders: [MigrationOrder] = []
  }

  private let state: Mutex<State>

  init(_ settings: MigrationSettings) { state = Mutex(State(settings: settings)) }

  var settings: MigrationSettings { state.withLock { $0.settings } }

  func change(_ body: (inout MigrationSettings) -> Void) {
    state.withLock { state in
      body(&state.settings)
      state.generation += 1
    }
  }

  func order(_ order: MigrationOrder) { state.withLock { $0.orders.append(order) } }

  /// The settings, if they have changed since `generation`.
  func settings(after generation: inout UInt64) -> MigrationSettings? {
    state.withLock { state in
      guard state.generation != generation else { return nil }
      generation = state.generation
      return state.settings
    }
  }

  func takeOrders() -> [MigrationOrder] {
    state.withLock { state in
      defer { state.orders = [] }
      return state.orders
    }
  }
}
