// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What was done to a process, and by whom: all that somebody else needs to undo it.
///
/// As text it is a line for each fact, in a fixed order, and an empty line at the end.
struct ThrottleRecord: Equatable, Sendable {
  /// The host's boot: process numbers and start times mean nothing in another.
  var boot: String
  /// Who throttles.
  var owner: ProcessIdentity
  var process: ProcessIdentity
  var brake: Brake

  enum Brake: Equatable, Sendable {
    /// Nothing is to be undone.
    case none
    /// The process may be stopped.
    case signals
    /// The quotas that were written, the last two, one of which holds now; and the one to restore.
    case quota(group: QuotaGroup, original: CPUQuota, written: [CPUQuota])
  }

  /// This host's boot.
  static func boot(_ files: HostFiles) -> String { files.text("/proc/sys/kernel/random/boot_id") ?? "unknown" }

  /// Makes the process run as before. Does nothing if that was done, if the process has ended, or if somebody else has
  /// set another quota meanwhile.
  func undo(_ files: HostFiles) throws(ThrottleError) {
    switch brake {
    case .none: return
    case .signals:
      guard let handle = try Self.existing({ () throws(ThrottleError) in try ProcessHandle(process.pid, files) }),
        handle.identity == process
      else { return }
      _ = try Self.existing { () throws(ThrottleError) in try handle.signal(SIGCONT) }
    case .quota(let group, let original, let written):
      let ours = written + [original]
      // Time and period by themselves: with version 1 they are two files, and who wrote them may not have finished.
      guard let now = group.read(files), now != original, ours.contains(where: { $0.time == now.time }),
        ours.contains(where: { $0.period == now.period })
      else { return }
      try group.write(original, files)
    }
  }

  /// Nil if there is nothing to release any more.
  private static func existing<Found>(_ body: () throws(ThrottleError) -> Found) throws(ThrottleError) -> Found? {
    do throws(ThrottleError) { return try body() } catch {
      if case .processGone = error { return nil }
      throw error
    }
  }
}

extension ThrottleRecord {
  private static let heading = "pageferry throttle 1"

  var text: String {
    var lines = [
      Self.heading, "boot \(boot)", "owner \(owner.pid) \(owner.startTime)",
      "process \(process.pid) \(process.startTime)",
    ]
    switch brake {
    case .none: lines.append("none")
    case .signals: lines.append("signals")
    case .quota(let group, let original, let written):
      lines.append("quota \(group.version.rawValue) \(group.folder)")
      lines += ([original] + written).map { "\($0.time ?? -1) \($0.period)" }
    }
    return lines.joined(separator: "\n") + "\n\n"
  }

  /// Nil if this is not such a text. A quota's group is one below the kernel's mount point for them.
  init?(text: String) {
    let lines = text.split(separator: "\n")
    guard lines.count >= 5, lines[0] == Self.heading, lines[1].hasPrefix("boot "),
      let owner = Self.identity(lines[2], "owner"), let process = Self.identity(lines[3], "process")
    else { return nil }
    let brake: Brake
    switch lines[4] {
    case "none" where lines.count == 5: brake = .none
    case "signals" where lines.count == 5: brake = .signals
    default:
      // The path is the rest of the line: it may hold spaces.
      let words = lines[4].split(separator: " ", maxSplits: 2)
      guard words.count == 3, words[0] == "quota", let version = QuotaGroup.Version(rawValue: String(words[1])),
        words[2].hasPrefix("/sys/fs/cgroup/"), !words[2].split(separator: "/").contains(".."),
        (6...8).contains(lines.count)
      else { return nil }
      let quotas = lines[5...].compactMap { Self.quota($0) }
      guard quotas.count == lines.count - 5 else { return nil }
      brake = .quota(
        group: QuotaGroup(version: version, folder: String(words[2])), original: quotas[0],
        written: Array(quotas.dropFirst()))
    }
    self.init(boot: String(lines[1].dropFirst(5)), owner: owner, process: process, brake: brake)
  }

  private static func identity(_ line: Substring, _ word: Substring) -> ProcessIdentity? {
    let words = line.split(separator: " ")
    guard words.count == 3, words[0] == word, let pid = Int32(words[1]), pid > 0, let start = UInt64(words[2]) else {
      return nil
    }
    return ProcessIdentity(pid: pid, startTime: start)
  }

  private static func quota(_ line: Substring) -> CPUQuota? {
    let words = line.split(separator: " ")
    guard words.count == 2, let time = Int(words[0]), let period = Int(words[1]), time >= -1, period > 0 else {
      return nil
    }
    return CPUQuota(time: time < 0 ? nil : time, period: period)
  }
}
