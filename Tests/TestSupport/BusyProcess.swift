// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import SystemPackage

/// Another process, which uses one CPU if it gets it, for as long as this object lives.
public final class BusyProcess {
  public let pid: Int32
  private let child: ChildProcess
  private var hasEnded = false

  /// - Parameter command: for the shell; a loop without an end unless said otherwise.
  public init(_ command: String = "while :; do :; done") throws {
    child = try ChildProcess(program: "/bin/sh", arguments: ["-c", command])
    pid = child.identifier
  }

  deinit { end() }

  /// Kills it, and waits until it has ended. May be called again.
  public func end() {
    // Once it was waited for, its number may be another's.
    if hasEnded { return }
    hasEnded = true
    _ = kill(pid, SIGKILL)
    _ = child.wait()
  }

  /// `R`, `S`, `T` (stopped) …; nil if there is none.
  public var state: Character? { Self.words(of: pid)?.first?.first }

  public var isStopped: Bool { state == "T" }

  /// CPU time in ticks of 10 ms, as `ps` and `top` count it, over `seconds`, as CPUs.
  public func use(over seconds: Double) -> Double {
    let (before, start) = (Self.ticks(of: pid), HostClock.now())
    HostClock.sleep(nanoseconds: UInt64(seconds * 1e9))
    let (after, end) = (Self.ticks(of: pid), HostClock.now())
    return Double(after - before) * 1e9 / Double(sysconf(Int32(_SC_CLK_TCK))) / Double(end - start)
  }

  /// Of looks at its state every millisecond for `seconds`, how many found it stopped, 0 to 1.
  public func stoppedShare(over seconds: Double) -> Double {
    var (looks, stops) = (0, 0)
    let end = HostClock.now() + UInt64(seconds * 1e9)
    while HostClock.now() < end {
      looks += 1
      if isStopped { stops += 1 }
      HostClock.sleep(nanoseconds: 1_000_000)
    }
    return Double(stops) / Double(max(looks, 1))
  }

  /// Waits until its state is, or is not, `stopped`.
  /// - Returns: seconds, or nil if that did not happen within `limit` seconds.
  public func wait(stopped: Bool, limit: Double) -> Double? {
    let start = HostClock.now()
    while Double(HostClock.now() - start) < limit * 1e9 {
      if isStopped == stopped { return Double(HostClock.now() - start) / 1e9 }
      HostClock.sleep(nanoseconds: 200_000)
    }
    return nil
  }

  private static func ticks(of pid: Int32) -> Int {
    guard let words = words(of: pid), words.count > 12 else { return 0 }
    return (Int(words[11]) ?? 0) + (Int(words[12]) ?? 0)
  }

  /// What /proc says of a process, from its state on.
  private static func words(of pid: Int32) -> [Substring]? {
    guard let text = HostMemory.firstBytes(of: "/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else {
      return nil
    }
    return text[text.index(after: end)...].split(separator: " ")
  }
}
