// SPDX-License-Identifier: Apache-2.0
import Control
import PageFerry
import Telemetry

/// A status as a person reads it: the lines and units of `virsh domjobinfo`, where it has them; what it does not have
/// comes after.
struct JobInfo {
  private let now: MigrationStatistics
  private let settings: [String: JSONValue]

  init(_ status: ControlStatus) {
    now = status.statistics
    settings = status.settings
  }

  private typealias Row = (name: String, value: String)

  var lines: [String] { lines(withSettings: true) }

  func lines(withSettings: Bool) -> [String] {
    let rows = job + data + pages + times + cache + throttle + convergence + relay + own
    let shown = Self.aligned(rows)
    guard withSettings else { return shown }
    let set = Knob.all.compactMap { knob in settings[knob.name].map { (knob.name + ":", knob.printed($0)) } }
    return set.isEmpty ? shown : shown + ["", "Settings"] + Self.aligned(set).map { "  " + $0 }
  }

  private static func aligned(_ rows: [Row]) -> [String] {
    let width = rows.map { $0.name.count }.max() ?? 0
    return rows.map { $0.name + String(repeating: " ", count: width - $0.name.count + 1) + $0.value }
  }

  // MARK: As virsh has them

  private var job: [Row] {
    let kind =
      switch now.status {
      case .completed: "Completed"
      case .failed: "Failed"
      case .cancelled: "Cancelled"
      default: "Unbounded"
      }
    var rows: [Row] = [
      ("Job type:", kind),
      ("Operation:", now.relay?.role == .destination ? "Incoming migration" : "Outgoing migration"),
      ("Time elapsed:", Self.ms(now.totalTime)),
    ]
    if let left = now.convergence?.timeToConverge { rows.append(("Time remaining:", Self.ms(left))) }
    return rows
  }

  private var data: [Row] {
    ["Data", "Memory"].flatMap { what in
      [("\(what) processed:", Self.size(Double(now.ram.transferred)))]
        + (now.ram.remaining.map { [("\(what) remaining:", Self.size(Double($0)))] } ?? [])
        + [("\(what) total:", Self.size(Double(now.ram.total)))]
    } + [("Memory bandwidth:", Self.size(now.ram.mbps * 1e6 / 8) + "/s")]
  }

  private var pages: [Row] {
    let dirty =
      now.relay == nil ? [("Dirty rate:", Self.value("\(Int(now.ram.dirtyPagesRate.rounded()))", "pages/s"))] : []
    return dirty + [
      ("Page size:", Self.value("\(now.ram.pageSize)", "bytes")),
      ("Iteration:", now.relay.map { "\($0.iterations)" } ?? "\(now.iteration?.iteration ?? 0)"),
      ("Constant pages:", "\(now.ram.duplicate)"),
      ("Normal pages:", "\(now.ram.normal)"),
      ("Normal data:", Self.size(Double(now.ram.normalBytes))),
    ]
  }

  private var times: [Row] {
    var rows: [Row] = []
    if let downtime = now.downtime {
      rows.append(("Total downtime:", Self.ms(downtime)))
    } else if let expected = now.expectedDowntime {
      rows.append(("Expected downtime:", Self.ms(expected)))
    }
    return rows + [("Setup time:", Self.ms(now.setupTime))]
  }

  private var cache: [Row] {
    guard let use = now.xbzrleCache else { return [] }
    return [
      ("Compression cache:", Self.size(Double(use.cacheSize))),
      ("Compressed data:", Self.size(Double(use.bytes))),
      ("Compressed pages:", "\(use.pages)"),
      ("Compression cache misses:", "\(use.cacheMiss)"),
      ("Compression overflows:", "\(use.overflow)"),
    ]
  }

  private var throttle: [Row] {
    now.convergence == nil ? [] : [("Auto converge throttle:", Self.value("\(now.throttlePercentage ?? 0)", "%"))]
  }

  // MARK: Beyond virsh

  private var convergence: [Row] {
    guard let live = now.convergence else { return [] }
    func rate(_ name: String, _ value: Double?) -> [Row] { value.map { [(name, Self.size($0) + "/s")] } ?? [] }
    var rows: [Row] = [
      ("Verdict:", live.verdict),
      ("Advice:", live.advice),
      ("Guest:", live.isPaused ? "paused by order" : live.holds ? "runs, held here by order" : "runs"),
      (
        "Throttle so far:",
        "mean \(Decimal.fixed(live.meanThrottle, digits: 1)) %, highest \(live.highestThrottle) %"
      ),
    ]
    rows += rate("Guest writes:", live.dirtyRate)
    rows += rate("Wire rate:", live.wireRate)
    rows += rate("Transfer rate:", live.transferRate)
    rows.append(("Working set:", Self.size(live.workingSet)))
    if let needed = live.neededThrottle { rows.append(("Needed throttle:", Self.value(Self.number(needed), "%"))) }
    if let needed = live.neededBandwidth {
      rows.append(("Needed bandwidth:", Self.value(Decimal.fixed(needed, digits: 1), "times that of now")))
    }
    if live.downtimeLimit > 0 { rows.append(("Allowed downtime:", Self.ms(live.downtimeLimit))) }
    if let reachable = live.reachableDowntime { rows.append(("Reachable downtime:", Self.ms(reachable))) }
    return rows
  }

  /// Of a half of a proxy pair.
  private var relay: [Row] {
    guard let relay = now.relay else { return [] }
    var rows: [Row] = [
      ("Carried as:", relay.mode.map(ProxyScreen.words) ?? "not known yet"),
      ("Connections:", "\(relay.connections) of the hypervisor, \(relay.openConnections) open"),
      (relay.role == .source ? "Stream taken:" : "Stream given:", Self.size(Double(relay.streamBytes))),
      ("Stream rate:", Self.size(relay.streamRate) + "/s"),
      ("Passed on as it is:", Self.size(Double(relay.passedBytes))),
    ]
    if let pages = relay.receivedPages { rows.append(("Pages taken:", "\(pages)")) }
    if let pages = relay.supersededPages { rows.append(("Pages overtaken:", "\(pages)")) }
    rows += [("Delta pages:", "\(now.pages.delta)"), ("Unchanged pages:", "\(now.pages.unchanged)")]
    if let window = relay.window {
      rows += [
        ("Under way:", Self.size(Double(window.used))), ("Under way, allowed:", Self.size(Double(window.limit))),
        ("Under way, highest:", Self.size(Double(window.highest))),
      ]
    }
    if let limit = relay.limit { rows.append(("Under way, now:", limit)) }
    if let held = relay.heldBytes { rows.append(("Pages held here:", Self.size(Double(held)))) }
    rows += relay.channelBytes.enumerated().map { ("Channel \($0 + 1):", Self.size(Double($1))) }
    rows += now.lanes.enumerated().map { ("Lane \($0):", DemoScreen.share($1)) }
    if !now.status.isFinal { rows.append(("Hand-over:", relay.sentence)) }
    return rows
  }

  private var own: [Row] {
    [
      ("Phase:", now.status.rawValue), ("Codec in use:", now.codecsInUse.isEmpty ? "–" : now.codecsInUse),
      ("Channels in use:", "\(now.channels)"), ("Peer:", now.peer.isEmpty ? "–" : now.peer),
    ]
  }

  // MARK: Values and units

  private static func value(_ number: String, _ unit: String) -> String {
    number + String(repeating: " ", count: max(1, 13 - number.count)) + unit
  }

  private static func number(_ value: Double) -> String { Decimal.fixed(value, digits: 0) }

  private static func ms(_ milliseconds: Double) -> String { value(number(milliseconds), "ms") }

  /// With three places and a binary unit, as virsh prints sizes.
  private static func size(_ bytes: Double) -> String {
    var (scaled, unit) = (bytes, "B")
    for next in ["KiB", "MiB", "GiB", "TiB"] where scaled >= 1024 { (scaled, unit) = (scaled / 1024, next) }
    return value(Decimal.fixed(scaled, digits: 3), unit)
  }
}
