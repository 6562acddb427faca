// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc

/// A named operating-system thread of the data plane.
///
/// Not a task: lanes and channels block in system calls, and want a name in `top -H` and a CPU of their own.
public final class HostThread: Sendable {
  private let handle: pthread_t

  private final class Body: Sendable {
    let name: String
    let placement: ThreadPlacement
    let run: @Sendable () -> Void
    init(name: String, placement: ThreadPlacement, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.placement = placement
      self.run = run
    }
  }

  /// Starts a thread.
  /// - Parameters:
  ///   - name: at most 15 bytes are kept, the kernel's limit.
  ///   - placement: where it runs: applied before it begins.
  ///   - run: what it does; the thread ends when this returns.
  public init(name: String, placement: ThreadPlacement = .anywhere, _ run: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let body = unsafe Unmanaged.passRetained(
      Body(name: String(name.prefix(15)), placement: placement, run: run)
    ).toOpaque()
    // SAFETY: the retained body is taken over, once, by the new thread.
    let failure = unsafe pthread_create(
      &thread, nil,
      { raw in
        guard let raw = unsafe raw else { return nil }
        let body = unsafe Unmanaged<Body>.fromOpaque(raw).takeRetainedValue()
        _ = unsafe hs_thread_set_name(body.name)
        body.placement.apply()
        body.run()
        return nil
      }, body)
    precondition(failure == 0, "pthread_create failed: \(failure)")
    handle = thread
  }

  /// Lets the thread go: it ends by itself, and nobody waits for it. Instead of ``join()``.
  public func detach() { _ = pthread_detach(handle) }

  /// Waits until the thread has ended. Call it exactly once, unless detached.
  public func join() { _ = pthread_join(handle, nil) }

  /// CPUs that the calling thread may run on, ascending: the affinity mask, and so the cgroup's cpuset.
  public static func allowedCPUs() -> [Int] {
    var cpus = [CInt](repeating: 0, count: Int(HS_CPU_COUNT_MAX))
    let found = unsafe cpus.withUnsafeMutableBufferPointer { unsafe hs_thread_get_cpus($0.baseAddress, $0.count) }
    return cpus.prefix(max(0, Int(found))).map { Int($0) }
  }
}
