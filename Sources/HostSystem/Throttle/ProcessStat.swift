// SPDX-License-Identifier: Apache-2.0

/// Which process: its number, and when it started, because numbers are used again.
struct ProcessIdentity: Hashable, Sendable {
  var pid: Int32
  /// In clock ticks since the host's boot.
  var startTime: UInt64
}

extension ProcessIdentity {
  /// The process that has this number now; nil if none has.
  init?(of pid: Int32, _ files: HostFiles) {
    guard let stat = ProcessStat(of: pid, files) else { return nil }
    self.init(pid: pid, startTime: stat.startTime)
  }

  /// The calling process.
  static func own(_ files: HostFiles) -> ProcessIdentity? {
    files.text("/proc/self/stat").flatMap { ProcessStat($0) }.map {
      ProcessIdentity(pid: $0.pid, startTime: $0.startTime)
    }
  }

  /// Whether it still runs.
  func exists(_ files: HostFiles) -> Bool {
    guard let stat = ProcessStat(of: pid, files) else { return false }
    return stat.startTime == startTime && stat.state != "Z" && stat.state != "X"
  }
}

/// What `/proc/PID/stat` says of a process, or of a thread by its number.
struct ProcessStat {
  let pid: Int32
  /// `R`, `S`, `D`, `T` (stopped), `t` (by a debugger), `Z` (ended, not yet waited for).
  let state: Character
  let parent: Int32
  let isKernelThread: Bool
  let startTime: UInt64

  init?(of pid: Int32, _ files: HostFiles) {
    guard let text = files.text("/proc/\(pid)/stat") else { return nil }
    self.init(text)
  }

  /// - Parameter text: the file's only line; the process's name stands in parentheses, and may hold anything.
  init?(_ text: String) {
    guard let start = text.firstIndex(of: " "), let end = text.lastIndex(of: ")") else { return nil }
    let words = text[text.index(after: end)...].split(separator: " ")
    guard words.count > 19, let pid = Int32(text[..<start]), let state = words[0].first, let parent = Int32(words[1]),
      let flags = UInt64(words[6]), let startTime = UInt64(words[19])
    else { return nil }
    self.pid = pid
    self.state = state
    self.parent = parent
    // PF_KTHREAD of the kernel's sched.h.
    isKernelThread = flags & 0x20_0000 != 0
    self.startTime = startTime
  }

  var isStopped: Bool { state == "T" || state == "t" }
}
