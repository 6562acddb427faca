// SPDX-License-Identifier: Apache-2.0
public import HostSystem
import Synchronization

/// What an operator decides about the data plane's threads.
public struct PlacementOptions: Sendable {
  public var policy: PlacementPolicy
  /// What workers are kept to; nil: what the process may use.
  public var cpus: CPUSet?
  /// Nice value of workers; nil: that of the process.
  public var niceness: Int?
  /// Whether workers are scheduled as SCHED_BATCH.
  public var isBatch: Bool
  /// Told in one sentence, once and on any thread, what could not be applied: work goes on all the same.
  public var warn: (@Sendable (String) -> Void)?

  public init(
    policy: PlacementPolicy = .automatic, cpus: CPUSet? = nil, niceness: Int? = nil, isBatch: Bool = false,
    warn: (@Sendable (String) -> Void)? = nil
  ) {
    self.policy = policy
    self.cpus = cpus
    self.niceness = niceness
    self.isBatch = isBatch
    self.warn = warn
  }

  /// What workers may use of this host now. Where nothing of `cpus` may be used, that is as if it had not been said.
  public var allowance: CPUAllowance {
    do throws(CPUAllowanceError) { return try CPUAllowance(restrictedTo: cpus) } catch {
      return CPUAllowance(affinity: error.allowed, cpus: error.allowed)
    }
  }

  /// The plan for this host.
  /// - Parameters:
  ///   - interface: the network interface of the data channels, if one is known.
  ///   - fill: says which threads there are, and what blocks.
  public func plan(
    interface: String? = nil, _ fill: (inout PlacementRequest) -> Void
  ) -> Placement {
    var request = PlacementRequest(
      policy: policy, topology: HostTopology(reading: HostFiles()), allowance: allowance,
      networkNode: interface.flatMap { HostTopology.node(ofInterface: $0) })
    fill(&request)
    var placement = Placement(planning: request)
    placement.niceness = niceness
    placement.isBatch = isBatch
    if let warn {
      let said = Said()
      placement.warn = { if said.isNew($0) { warn($0) } }
    }
    return placement
  }

  /// What has been said already: a hundred threads may fail alike.
  private final class Said: Sendable {
    private let all = Mutex<Set<String>>([])
    func isNew(_ sentence: String) -> Bool { all.withLock { $0.insert(sentence).inserted } }
  }
}
