// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Threads of the operating system: all of them run at the same time, however busy the test runner's own are.
public enum Threads {
  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Calls `body` on `count` threads, with their numbers, and waits until all have returned.
  public static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let threads = (0..<count).map { index in
      var thread = pthread_t()
      let raw = unsafe Unmanaged.passRetained(Body { body(index) }).toOpaque()
      // SAFETY: the retained body is taken over, once, by the new thread.
      let failure = unsafe pthread_create(
        &thread, nil,
        { raw in
          if let raw = unsafe raw { unsafe Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
          return nil
        }, raw)
      precondition(failure == 0, "pthread_create failed: \(failure)")
      return thread
    }
    for thread in threads { _ = pthread_join(thread, nil) }
  }
}
