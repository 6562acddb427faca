// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import Lanes
import PageCodecs
import Transport
import Wire

extension SourceSession {
  /// What holds now. Any thread.
  public var settings: MigrationSettings { controls.settings }

  /// Changes settings while the migration runs; any thread. They hold when this returns, for the guest within 50 ms.
  /// - Throws: if one of them cannot be had; then nothing has changed.
  public func change(_ body: (inout MigrationSettings) -> Void) throws(SettingError) {
    var new = controls.settings
    body(&new)
    try check(new)
    controls.change(body)
    pacer.set(bytesPerSecond: new.bandwidthLimit(isPaused: record.isPaused))
    cacheBudget.set(new.deltaCache)
    record.now.pipeline?.set(workerCount: new.workers)
    _ = record.now.pipeline?.set(codec: new.codec)
    channelOpener?.follow()
    events.post(.steer)
  }

  private func check(_ new: MigrationSettings) throws(SettingError) {
    let lanes = configuration.laneCount
    guard (1...lanes).contains(new.workers) else {
      throw SettingError("workers: 1 to \(lanes) (this migration has \(lanes) lanes), not \(new.workers)")
    }
    try checkChannels(new.channels)
    guard new.throttle.map({ (0...99).contains($0) }) ?? true else { throw SettingError("throttle: 0 to 99 percent") }
    guard new.codec.tags.allSatisfy({ offeredTags.contains($0) }) else {
      throw SettingError(
        "codec: \(new.codec) was not agreed on with the destination at the start (agreed: "
          + offeredTags.compactMap { CodecRegistry.codec(tag: $0)?.identity.name }.joined(separator: ", ") + ")")
    }
  }

  private func checkChannels(_ count: Int) throws(SettingError) {
    guard count != controls.settings.channels else { return }
    guard guest.dirtyLog != nil else {
      throw SettingError("channels: their number cannot be changed, this guest does not run")
    }
    let most = min(configuration.laneCount, WireLimits.channelCountMax)
    guard (1...most).contains(count) else {
      throw SettingError("channels: 1 to \(most) (this migration has \(configuration.laneCount) lanes), not \(count)")
    }
  }

  /// Tells the migration what to do; any thread. It is done within 50 ms.
  /// - Throws: if it makes no sense now.
  public func order(_ order: MigrationOrder) throws(SettingError) {
    let phase = clock.phase
    guard guest.dirtyLog != nil else { throw SettingError("\(order.rawValue): this guest does not run") }
    let isTooLate = phase == .switchover || phase == .commit || phase.isFinal
    guard !isTooLate else {
      throw SettingError("\(order.rawValue): too late, the migration is in phase '\(phase.rawValue)'")
    }
    if order == .pause || order == .resume {
      guard phase == .active else {
        throw SettingError("\(order.rawValue): not yet, the migration is in phase '\(phase.rawValue)'")
      }
    }
    if order == .resume, !record.isPaused { throw SettingError("resume: the guest runs") }
    if order == .pause, record.isPaused { throw SettingError("pause: the guest is paused") }
    controls.order(order)
    events.post(.steer)
  }
}
