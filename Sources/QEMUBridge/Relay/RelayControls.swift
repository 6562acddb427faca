// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import PageCodecs
import Synchronization
import Transport
import Wire

/// What the source's half is set to, of all connections of its hypervisor together. Any thread.
final class RelayControls: Sendable {
  /// The migration's name, as both halves' logs have it.
  let identity = SessionIdentity.random()
  let pacer: Pacer
  private let held: Mutex<MigrationSettings>

  init(_ configuration: RelaySource.Configuration) {
    pacer = Pacer(bytesPerSecond: configuration.bandwidthLimit)
    held = Mutex(
      MigrationSettings(
        bandwidthLimit: configuration.bandwidthLimit, codec: configuration.codec, workers: configuration.laneCount,
        channels: configuration.channelCount, deltaCache: configuration.deltaCache))
  }

  var settings: MigrationSettings { held.withLock { $0 } }

  func change(
    _ body: (inout MigrationSettings) -> Void, check: (MigrationSettings) throws(SettingError) -> Void
  ) throws(SettingError) -> MigrationSettings {
    var new = settings
    body(&new)
    try check(new)
    held.withLock { body(&$0) }
    pacer.set(bytesPerSecond: new.bandwidthLimit)
    return new
  }
}

/// Where what an operator of a migration might want to set is to be set, where that is not a proxy.
enum RelayRefusals {
  /// What lanes do, which the source's half has.
  static let ofLanes = ["bandwidth", "codec", "workers", "delta-cache"]

  /// - Parameter name: of a setting.
  /// - Returns: one line; nil: it is the source's half's own, or no setting of anybody's.
  static func source(_ name: String) -> String? {
    switch name {
    case "downtime-limit":
      "downtime-limit: QEMU hands its guest over; set it there (migrate-set-parameters downtime-limit)"
    case "switchover-bandwidth":
      "switchover-bandwidth: a proxy has one limit, 'bandwidth'; what QEMU reckons with is set there "
        + "(migrate-set-parameters avail-switchover-bandwidth)"
    case "policy", "throttle", "throttle-initial", "throttle-increment", "throttle-max", "throttle-trigger",
      "throttle-tailslow", "dirty-limit":
      "\(name): QEMU throttles its guest; set it there (migrate-set-capabilities auto-converge, migrate-set-parameters "
        + "cpu-throttle-initial and others)"
    case "deadline", "deadline-action":
      "\(name): a proxy has none; 'cancel' here, or migrate_cancel in QEMU, ends the migration"
    case "hold": "hold: \(holding)"
    case "channels": "channels: their number holds from the start of a proxy on (--channels)"
    default: nil
    }
  }

  static func destination(_ name: String) -> String? {
    ofLanes.contains(name) || name == "channels"
      ? "\(name): the proxy beside the source QEMU sends; set it there" : source(name)
  }

  private static let holding =
    "QEMU hands its guest over; hold it there (migrate-set-capabilities pause-before-switchover, then migrate-continue)"

  static func order(_ order: MigrationOrder) -> SettingError {
    let reason =
      switch order {
      case .pause: "QEMU runs the guest; 'stop' in its monitor pauses it, and its memory goes on being sent"
      case .resume: "QEMU runs the guest; 'cont' in its monitor lets it run on"
      case .complete: "QEMU hands its guest over; 'stop' in its monitor has it do so with all that is left"
      case .hold, .release: holding
      }
    return SettingError("\(order.rawValue): \(reason)")
  }
}

/// What a half of a pair measures over all connections.
final class RelayMeters: Sendable {
  let wire = RateMeter()
  let stream = RateMeter()
  let pages = RateMeter()
  private let cpuAtStart = ProcessUsage.cpuNanoseconds
  private let end = Mutex<RelayReport?>(nil)

  var cpuNanoseconds: Int64 { ProcessUsage.cpuNanoseconds - cpuAtStart }

  /// A migration begins: what was not before does not count.
  func restart() { for meter in [wire, stream, pages] { meter.restart() } }

  /// It ended before anybody came.
  func noteEnd(_ report: RelayReport) { end.withLock { $0 = report } }
  var endedEarly: RelayReport? { end.withLock { $0 } }
}
