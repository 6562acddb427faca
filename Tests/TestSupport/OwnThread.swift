// SPDX-License-Identifier: Apache-2.0
import Dispatch

/// Runs a test on a thread beside the test runner's own. Those are as many as the machine has CPUs, and a test that waits
/// for other processes would keep one from all other tests.
///
///     try await withTaskExecutorPreference(OwnThread(name: "QEMU")) { … }
public final class OwnThread: TaskExecutor {
  private let queue: DispatchQueue

  public init(name: String) { queue = DispatchQueue(label: name) }

  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
