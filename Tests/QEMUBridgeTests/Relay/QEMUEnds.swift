// SPDX-License-Identifier: Apache-2.0
import HostSystem
import SystemPackage
import TestSupport
import Testing

@testable import QEMUBridge

/// What is switched on in the two QEMUs, and how the pair is set.
struct QEMUCase: Sendable, CustomStringConvertible {
  var capabilities: [String] = []
  /// Of the source only.
  var sourceCapabilities: [String] = []
  var codec = "none"
  /// The destination's memory: a file or a memfd of its own, and whether it is shared.
  var isFile = true
  var isShared = true
  /// Whether pages may go straight into it: told which file it is, or looked for.
  var direct = true
  var keepsAll = false
  var mode = RelayReport.Mode.direct
  /// Of multifd, where that is on.
  var channels = 2
  var compression = "none"
  /// Whether the source's guest is stopped before; else it runs.
  var isHeld = true

  func memory(_ directory: TemporaryDirectory) -> DirectMemory {
    if !direct { return .off }
    return isFile ? .file(path: directory.file("destination.ram")) : .automatic
  }

  var parameters: [String: Any] {
    capabilities.contains("multifd") ? ["multifd-channels": channels, "multifd-compression": compression] : [:]
  }

  var description: String {
    ([codec] + capabilities + sourceCapabilities
      + [
        isFile ? "file" : "memfd", isShared ? "shared" : "private", keepsAll ? "all kept" : "", isHeld ? "" : "running",
        capabilities.contains("multifd") ? "\(channels) channels, compression \(compression)" : "",
      ])
      .filter { !$0.isEmpty }.joined(separator: " ")
  }
}

/// Two QEMUs at the ends of a pair, the source's guest with memory that holds something.
struct QEMUEnds {
  /// What of RAM is filled: firmware leaves it alone.
  static let filled = (4 << 20)..<(10 << 20)

  let folder: TemporaryDirectory
  let source: QEMUProcess
  let destination: QEMUProcess

  /// - Parameter startsArrived: whether the destination's guest runs as soon as it has arrived; else it waits.
  init(_ pair: ProxyPair, _ how: QEMUCase, startsArrived: Bool = false) throws {
    folder = pair.directory
    try folder.write(Self.content(seed: 5), to: "source.ram")
    try folder.write([UInt8](repeating: 0, count: QEMUProcess.ramByteCount), to: "destination.ram")
    source = try QEMUProcess(memoryFile: folder.file("source.ram"))
    destination = try QEMUProcess(
      memoryFile: how.isFile ? folder.file("destination.ram") : nil, incoming: "defer", isHeld: !startsArrived,
      isShared: how.isShared)
    try source.wait(until: "running")
    if how.isHeld { try source.command("stop") }
    try source.configure(how.capabilities + how.sourceCapabilities, how.parameters)
    try destination.configure(how.capabilities, how.parameters)
    try destination.command("migrate-incoming", ["uri": "unix:\(pair.directory.file("in"))"])
  }

  static func content(seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(seed: seed)
    var ram = [UInt8](repeating: 0, count: QEMUProcess.ramByteCount)
    ram.replaceSubrange(filled, with: random.bytes(filled.count))
    return ram
  }

  /// Writes something else into memory that is in use: the file is changed in its place.
  static func fill(_ path: String, seed: UInt64) throws {
    let file = try FileDescriptor.open(FilePath(path), .writeOnly)
    defer { try? file.close() }
    try file.writeAll(toAbsoluteOffset: Int64(filled.lowerBound), content(seed: seed)[filled])
  }

  /// Tells the source to migrate through `pair`.
  func start(_ pair: ProxyPair) throws {
    try source.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
  }

  /// When something happens to a migration.
  enum Moment {
    /// So long after the source's half has a session, or the destination's.
    case early(milliseconds: UInt64, behindDestination: Bool)
    /// Pages have arrived, and others have not.
    case middle
  }

  func wait(for moment: Moment, _ pair: ProxyPair) throws {
    switch moment {
    case .early(let milliseconds, let behindDestination):
      let end = HostClock.now() + 60_000_000_000
      while (behindDestination ? pair.destination.reports : pair.departure.reports).isEmpty, HostClock.now() < end {
        HostClock.sleep(nanoseconds: 1_000_000)
      }
      HostClock.sleep(nanoseconds: milliseconds * 1_000_000)
    case .middle:
      for _ in 0..<600 where (pair.destination.reports.first?.iterations ?? 0) < 2 {
        HostClock.sleep(nanoseconds: 100_000_000)
      }
      try #require(pair.destination.reports.first?.iterations ?? 0 >= 2)
      #expect(try source.migration == "active")
    }
  }

  func end() {
    source.end()
    destination.end()
  }
}

/// Memory of a whole guest, which is too much to be printed: where it differs first, and in how many pages.
func expectEqual(
  _ sent: ArraySlice<UInt8>, _ arrived: ArraySlice<UInt8>, _ what: String,
  at location: SourceLocation = #_sourceLocation
) {
  guard !sent.isSame(as: arrived) else { return }
  let pages = stride(from: 0, to: sent.count, by: 4096).filter { page in
    !sent.dropFirst(page).prefix(4096).isSame(as: arrived.dropFirst(page).prefix(4096))
  }
  Issue.record(
    """
    \(sent.count) and \(arrived.count) bytes, \(pages.count) pages differ, the first at \(pages.prefix(20)): \(what)
    """, sourceLocation: location)
}
