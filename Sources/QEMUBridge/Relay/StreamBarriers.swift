// SPDX-License-Identifier: Apache-2.0
import Migration

/// The stream's part of multifd: what it has to say to its channels, and to a destination that has such channels too.
///
/// A barrier is a record of its own (QEMU 8.1 and later). Those are not passed on but for the first: at the destination
/// pages come in the stream, where they have an order. To older machines the end of every section's records is a barrier,
/// and so it would be of sections that the other half makes. So a section is left open behind the stream's beginning, and
/// all that comes goes into that one: it ends with the stream's last section. Two barriers then, for which channels pass on
/// packets.
final class StreamBarriers {
  private let gate: MultifdGate
  /// Whether barriers are records of their own.
  private let flushes: Bool
  private let section: UInt32
  /// The last section has come.
  private var isOver = false
  /// What may only stand between sections, and waits for that.
  private var held: [UInt8] = []

  init(_ gate: MultifdGate, flushes: Bool, section: UInt32) {
    self.gate = gate
    self.flushes = flushes
    self.section = section
  }

  /// What follows the list of blocks: the footer, which the hypervisor sends with its first pages, and a section.
  var prelude: [UInt8] { footer + (flushes ? [] : head) }

  private var footer: [UInt8] {
    var bytes = [StreamFormat.Element.footer]
    bytes.append(bigEndian: section)
    return bytes
  }

  private var head: [UInt8] {
    var bytes = [StreamFormat.Element.sectionPart]
    bytes.append(bigEndian: section)
    return bytes
  }

  /// Whether what may only stand between sections has to be held.
  var waitsForSections: Bool { !flushes && !isOver }

  /// Keeps what may only stand between sections until there is such a place.
  func hold(_ bytes: [UInt8]) throws(MigrationFailure) {
    guard held.count + bytes.count <= Self.heldByteCountMax else {
      throw MigrationFailure(.hypervisorFailed, "the stream has too many commands between its sections")
    }
    held += bytes
  }

  private static let heldByteCountMax = 64 << 10

  /// A barrier that is a record.
  func flush() throws(MigrationFailure) {
    guard flushes else {
      throw MigrationFailure(.hypervisorFailed, "the stream changes how it marks barriers of multifd channels")
    }
    try gate.arrive(passing: 0)
  }

  /// The records of a section have ended.
  /// - Returns: what stands before the last section.
  func endRecords(of kind: SectionKind) throws(MigrationFailure) -> [UInt8] {
    var before: [UInt8] = []
    if !flushes {
      try gate.arrive(passing: kind == .end ? 2 : 0)
      if kind == .end {
        before.append(bigEndian: StreamFormat.Record.endOfRecords)
        before += footer + held
      }
    }
    if kind == .end {
      isOver = true
      gate.complete()
    }
    return before
  }

  /// Something has come that cannot be in the same stream with channels whose pages are taken out.
  func refuse(_ what: String) throws(MigrationFailure) {
    throw MigrationFailure(
      .hypervisorFailed, "beside multifd's channels the stream goes on with \(what): turn multifd off")
  }
}
