// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Turns termination signals into a call on an ordinary thread.
public enum SignalWatcher {
  /// From now on SIGINT, SIGTERM and SIGHUP call `handle` with their number, on a thread of their own, each time;
  /// SIGPIPE is ignored (a broken connection is an error of the call that wrote to it).
  ///
  /// Call once, early, on the main thread: threads started later inherit the mask.
  public static func start(_ handle: @escaping @Sendable (CInt) -> Void) {
    _ = signal(SIGPIPE, SIG_IGN)
    var blocked = sigset_t()
    unsafe sigemptyset(&blocked)
    for number in [SIGINT, SIGTERM, SIGHUP] { unsafe sigaddset(&blocked, number) }
    _ = unsafe pthread_sigmask(SIG_BLOCK, &blocked, nil)
    let watched = blocked
    _ = HostThread(name: "pf-signals") {
      var set = watched
      while true {
        var number: CInt = 0
        if unsafe sigwait(&set, &number) == 0 { handle(number) }
      }
    }
  }
}
