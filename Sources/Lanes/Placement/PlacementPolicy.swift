// SPDX-License-Identifier: Apache-2.0

/// How threads of the data plane are bound to CPUs.
public enum PlacementPolicy: String, Sendable, Codable, CaseIterable {
  /// What ``resolved(nodeCount:)`` makes of it.
  case automatic = "auto"
  /// Threads run where the kernel puts them.
  case none
  /// A thread may run on every CPU of its node that is allowed.
  case node
  /// Each thread has one CPU.
  case cpu

  /// The policy that `auto` stands for; every other stands for itself.
  /// - Parameter nodeCount: nodes with a CPU that may be used.
  func resolved(nodeCount: Int) -> PlacementPolicy {
    guard self == .automatic else { return self }
    return nodeCount > 1 ? .node : .none
  }
}
