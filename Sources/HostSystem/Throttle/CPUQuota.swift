// SPDX-License-Identifier: Apache-2.0

/// CPU time that a control group may use in each period.
struct CPUQuota: Equatable, Sendable {
  /// Microseconds of CPU time, of all CPUs together; nil for no limit.
  var time: Int?
  /// Microseconds.
  var period: Int

  /// What the kernel takes.
  static let timeMin = 1000
  static let periodMax = 1_000_000

  /// - Parameters:
  ///   - cpus: CPU time per time: 1.5 is one CPU and a half.
  ///   - original: what the group has; its period stays where the kernel takes the time that it makes, and is made
  ///     longer where that would be less than 1 ms.
  /// - Returns: at most `original`; at the least 1 ms of each second.
  static func limit(_ cpus: Double, within original: CPUQuota) -> CPUQuota {
    var cpus = max(cpus, Double(timeMin) / Double(periodMax))
    if let time = original.time { cpus = min(cpus, Double(time) / Double(original.period)) }
    let time = (cpus * Double(original.period)).rounded()
    if time >= Double(timeMin) { return CPUQuota(time: Int(time), period: original.period) }
    let period = min(Int((Double(timeMin) / cpus).rounded(.up)), periodMax)
    return CPUQuota(time: timeMin, period: period)
  }
}

/// A control group's quota, in the files of version 1 or 2.
struct QuotaGroup: Equatable, Sendable {
  enum Version: String, Sendable { case v1, v2 }
  let version: Version
  /// Its directory.
  let folder: String

  /// The file that refuses a quota, for messages.
  var quotaFile: String { folder + (version == .v1 ? "/cpu.cfs_quota_us" : "/cpu.max") }
  private var periodFile: String { folder + "/cpu.cfs_period_us" }
  /// Has a line for each thread in the group.
  var threadsFile: String { folder + (version == .v1 ? "/tasks" : "/cgroup.threads") }

  /// Nil if the group is gone, or has no quota.
  func read(_ files: HostFiles) -> CPUQuota? {
    switch version {
    case .v1:
      guard let time = files.number(quotaFile), let period = files.number(periodFile), period > 0 else { return nil }
      return CPUQuota(time: time < 0 ? nil : time, period: period)
    case .v2:
      let words = (files.text(quotaFile) ?? "").split(separator: " ")
      guard words.count == 2, let period = Int(words[1]), period > 0 else { return nil }
      if words[0] == "max" { return CPUQuota(time: nil, period: period) }
      return Int(words[0]).map { CPUQuota(time: $0, period: period) }
    }
  }

  func write(_ quota: CPUQuota, _ files: HostFiles) throws(ThrottleError) {
    switch version {
    case .v1:
      // Two files: in between the group must not have more than a group above it allows. So a period grows first, and
      // shrinks last.
      let growsFirst = quota.period > files.number(periodFile) ?? 0
      if growsFirst { try write(quota.period, to: periodFile, files) }
      try write(quota.time ?? -1, to: quotaFile, files)
      if !growsFirst, quota.period != files.number(periodFile) { try write(quota.period, to: periodFile, files) }
    case .v2:
      try write("\(quota.time.map { "\($0)" } ?? "max") \(quota.period)", to: quotaFile, files)
    }
  }

  /// Periods in which the group used up its quota, so far.
  func throttleCount(_ files: HostFiles) -> UInt64 {
    for line in (files.text(folder + "/cpu.stat") ?? "").split(separator: "\n") where line.hasPrefix("nr_throttled ") {
      return UInt64(line.dropFirst(13)) ?? 0
    }
    return 0
  }

  private func write(_ value: some CustomStringConvertible, to file: String, _ files: HostFiles) throws(ThrottleError) {
    do { try files.write("\(value)", to: file) } catch { throw .controlGroupRefused(file: file, error) }
  }
}
