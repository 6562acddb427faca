// SPDX-License-Identifier: Apache-2.0
import HostSystem
package import Lanes

extension MigrationStatistics {
  /// Of one half of a proxy pair between two hypervisors: their stream, and what of it is under way. With several
  /// connections of the hypervisor (multifd), of all of them together.
  ///
  /// When the guest is handed over the hypervisor decides, and what it has left to send only it knows: neither is here.
  public struct Relay: Sendable, Codable, Equatable {
    /// How a stream is carried.
    public enum Mode: String, Sendable, Codable, CaseIterable {
      /// As it is: it could not be taken apart.
      case verbatim
      /// Pages over the lanes; the destination's stream is made anew.
      case pages
      /// Pages over the lanes, straight into the destination hypervisor's memory.
      case direct
    }

    public var role: MigrationReport.Role
    /// Nil before the stream's beginning has been read.
    public var mode: Mode?
    /// Connections of the hypervisor: that were made, and that have not ended.
    public var connections = 0
    public var openConnections = 0
    /// Bytes of the hypervisor's stream: taken from the source's, given to the destination's; and in a second, over the
    /// last ones.
    public var streamBytes: UInt64 = 0
    public var streamRate = 0.0
    /// Bytes of it that were passed on as they are.
    public var passedBytes: UInt64 = 0
    /// At the source: pages in the stream, and those that were overtaken by a newer version before they were sent.
    public var receivedPages: UInt64?
    public var supersededPages: UInt64?
    public var iterations: UInt32 = 0
    /// At the source.
    public var window: Window?
    /// At the source: bytes of pages that wait here, or are not known to have arrived.
    public var heldBytes: Int?
    /// Bytes of each data channel, in the order of their numbers.
    public var channelBytes: [UInt64] = []

    /// How much of the stream may be under way: taken from the hypervisor, and not yet with the other. In bytes of it.
    public struct Window: Sendable, Codable, Equatable {
      public var used: Int
      public var limit: Int
      /// The most that was used.
      public var highest: Int

      package init(used: Int, limit: Int, highest: Int) {
        self.used = used
        self.limit = limit
        self.highest = highest
      }
    }

    package init(role: MigrationReport.Role) { self.role = role }

    enum CodingKeys: String, CodingKey {
      case role, mode, connections, iterations, window
      case openConnections = "open-connections"
      case streamBytes = "stream-bytes"
      case streamRate = "stream-rate"
      case passedBytes = "passed-bytes"
      case receivedPages = "received-pages"
      case supersededPages = "superseded-pages"
      case heldBytes = "held-bytes"
      case channelBytes = "channel-bytes"
    }
  }

  /// How long a half of a proxy pair has been at it, in nanoseconds.
  package struct RelayTimes: Sendable {
    package var total: UInt64 = 0
    /// Before pages could flow.
    package var setup: UInt64 = 0

    package init() {}
    package var active: UInt64 { total - min(total, setup) }
  }

  /// - Parameters:
  ///   - pageRate: pages of the hypervisor's stream in a second.
  ///   - sent: what lanes did; at the destination what became of pages.
  package init(
    _ relay: Relay, status: Phase, times: RelayTimes, ram: RAM, sent: SendingStatistics, peer: String, channels: Int
  ) {
    let active = Double(max(1, times.active))
    self.init(
      status: status, totalTime: Double(times.total) / 1e6, setupTime: Double(times.setup) / 1e6, ram: ram,
      xbzrleCache: .init(sent), peer: peer, pages: .init(total: Int(clamping: ram.total / 4096), notRead: 0, sent),
      codecs: sent.codecs,
      lanes: sent.lanes.map {
        .init(
          reading: Double($0.reading) / active, encoding: Double($0.encoding) / active,
          blocked: Double($0.blocked) / active)
      }, channels: channels)
    self.relay = relay
  }
}

extension MigrationReport {
  /// What a half of a proxy pair has done, in the words of any migration.
  /// - Parameter cpuNanoseconds: processor time of the process since it began.
  package init(
    _ now: MigrationStatistics, session: String, codec: Codec, cpuNanoseconds: Int64, failure: Failure?
  ) {
    let (total, setup) = (now.totalTime / 1000, now.setupTime / 1000)
    self.init(
      role: now.relay?.role ?? .source, outcome: now.status, failure: failure, session: session, peer: now.peer,
      blocks: [], pages: now.pages,
      bytes: .init(
        guest: now.ram.total, wire: now.ram.transferred,
        guestPerSecond: total > 0 ? Double(now.ram.total) / total : 0,
        wirePerSecond: total > setup ? Double(now.ram.transferred) / (total - setup) : 0),
      seconds: .init(setup: setup, reservation: 0, active: max(0, total - setup), switchover: 0, commit: 0),
      codec: codec, channels: now.channels, lanes: now.lanes.count,
      resources: .current(
        cpuNanoseconds: cpuNanoseconds, bufferBytes: 0, historyBytes: 0, memoryNanoseconds: 0, blockedNanoseconds: 0),
      relay: now.relay)
  }
}
