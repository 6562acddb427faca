// SPDX-License-Identifier: Apache-2.0
import CHostSystem
public import SystemPackage

/// Where one thread runs, where its memory comes from, and how it stands back behind others.
public struct ThreadPlacement: Sendable {
  /// The CPUs it may run on; nil: those it may anyway.
  public var cpus: CPUSet?
  /// The node that its buffers prefer; nil: wherever they are touched first.
  public var memoryNode: Int?
  /// Its nice value; nil: that of the process.
  public var niceness: Int?
  /// Whether it is scheduled as SCHED_BATCH: it does not preempt others when it wakes up.
  public var isBatch: Bool
  /// Told in one sentence what could not be applied: the thread runs all the same.
  public var warn: (@Sendable (String) -> Void)?

  public init(
    cpus: CPUSet? = nil, memoryNode: Int? = nil, niceness: Int? = nil, isBatch: Bool = false,
    warn: (@Sendable (String) -> Void)? = nil
  ) {
    self.cpus = cpus
    self.memoryNode = memoryNode
    self.niceness = niceness
    self.isBatch = isBatch
    self.warn = warn
  }

  /// Anywhere: nothing is asked of the kernel.
  public static let anywhere = ThreadPlacement()

  /// Applies to the calling thread, which does so before it begins its work. Memory is not its business: whoever makes
  /// a buffer for the thread says ``memoryNode``.
  public func apply() {
    if let cpus, let failure = HostThread.restrict(to: cpus) {
      warn?("a thread could not be kept to CPUs \(cpus): \(failure)")
    }
    if isBatch, let failure = Self.failure(hs_thread_set_batch()) {
      warn?("a thread could not be scheduled as SCHED_BATCH: \(failure)")
    }
    if let niceness, let failure = Self.failure(hs_thread_set_nice(CInt(clamping: niceness))) {
      warn?("a thread could not get the nice value \(niceness): \(failure)")
    }
  }

  private static func failure(_ result: CInt) -> Errno? { result < 0 ? Errno(rawValue: -result) : nil }
}

extension HostThread {
  /// CPUs that the calling thread may run on: the affinity mask, and so the cgroup's cpuset.
  public static var allowedCPUSet: CPUSet { CPUSet(allowedCPUs()) }

  /// Keeps the calling thread, and those that it starts from now on, to `cpus`.
  /// - Returns: why not, or nil.
  public static func restrict(to cpus: CPUSet) -> Errno? {
    let numbers = cpus.numbers.map { CInt($0) }
    let result = unsafe numbers.withUnsafeBufferPointer { unsafe hs_thread_set_cpus($0.baseAddress, $0.count) }
    return result < 0 ? Errno(rawValue: -result) : nil
  }

  /// The calling thread's nice value.
  public static var niceness: Int {
    var value: CInt = 0
    _ = unsafe hs_thread_get_nice(&value)
    return Int(value)
  }

  /// Whether the calling thread is scheduled as SCHED_BATCH.
  public static var isBatch: Bool { hs_thread_is_batch() == 1 }
}
