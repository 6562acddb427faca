// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
package import Lanes
import PageCodecs
public import Transport
package import Wire

/// Why a migration did not complete, in one sentence.
public struct MigrationFailure: Error, Equatable, Sendable, CustomStringConvertible {
  /// For programs.
  public let code: FailureCode
  /// For people: what was wrong, where, and what to do.
  public let reason: String
  /// Whether the other side found it.
  public let isFromPeer: Bool

  public init(_ code: FailureCode, _ reason: String, isFromPeer: Bool = false) {
    self.code = code
    // A peer's names and words may be part of it.
    self.reason = Self.printable(reason)
    self.isFromPeer = isFromPeer
  }

  public var description: String { reason }

  /// What a peer said about itself or about us.
  package init(_ refusal: ControlMessage.Refusal, peer: String) {
    self.init(
      FailureCode(rawValue: refusal.code) ?? .refused, "\(peer) says: \(Self.printable(refusal.reason))",
      isFromPeer: true)
  }

  /// A peer's words without control characters, which could rewrite an operator's terminal.
  package static func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }

  /// An error of this side's memory: the source's input.
  public init(input error: GuestMemoryError) {
    let code: FailureCode =
      switch error {
      case .cannotOpen: .inputMissing
      case .notAnImage, .notPageMultiple: .inputNotAnImage
      case .badMap, .badBlocks, .mapPastEnd: .badMemoryMap
      case .changedWhileRead: .inputChanged
      case .cannotReserve: .memoryUnavailable
      case .trackingUnavailable, .trackingFailed: .trackingUnavailable
      default: .inputUnreadable
      }
    self.init(code, error.description)
  }

  /// An error of this side's memory: the destination's output.
  public init(output error: GuestMemoryError) {
    let code: FailureCode =
      switch error {
      case .cannotOpen, .notAnImage, .outputExists, .outputBusy: .outputRefused
      case .diskFull: .diskFull
      case .cannotReserve: .memoryUnavailable
      case .blocksDiffer: .blocksDiffer
      case .badMap, .badBlocks: .badMemoryMap
      case .badDelta: .protocolViolation
      default: .outputFailed
      }
    self.init(code, error.description)
  }

  /// A connection's error once a session is under way.
  package init(_ error: TransportError, with peer: String) {
    switch error {
    case .badEndpoint, .cannotResolve, .badOption, .cannotConnect: self.init(connecting: error)
    case .cannotListen: self.init(.cannotListen, error.description)
    case .closedByPeer: self.init(.peerLost, "\(peer) closed the connection before the migration was complete")
    case .timedOut: self.init(.peerLost, "\(peer) stopped answering")
    case .stopped, .failed: self.init(.peerLost, "lost the connection to \(peer): \(error)")
    }
  }

  /// An error while looking for the peer.
  public init(connecting error: TransportError) {
    switch error {
    case .cannotListen: self.init(.cannotListen, error.description)
    case .badOption: self.init(.optionRefused, error.description)
    default: self.init(.peerAbsent, error.description)
    }
  }

  /// An error while setting up to listen.
  public init(listening error: TransportError) {
    if case .badOption = error { self.init(connecting: error) } else { self.init(.cannotListen, error.description) }
  }

  /// Bytes that the peer should not have sent.
  package init(_ error: WireError, from peer: String) {
    let code: FailureCode =
      switch error {
      case .foreignMagic: .notPageFerry
      case .versionUnsupported: .versionMismatch
      default: .protocolViolation
      }
    self.init(code, "\(peer): \(error)")
  }

  /// An error of a pipeline.
  package init(_ error: LaneError, with peer: String, memory: (GuestMemoryError) -> MigrationFailure) {
    switch error {
    case .memory(let error): self = memory(error)
    case .codec(.corrupt), .codecNotAgreed, .laneElsewhere, .laneMovedNowhere, .badDelta:
      self.init(.protocolViolation, "\(peer): \(error)")
    case .codec: self.init(.internal, error.description)
    case .transport(let channel, let error): self.init(error, with: "\(peer) (data channel \(channel))")
    case .wire(let channel, let error): self.init(error, from: "\(peer) (data channel \(channel))")
    case .noBuffers: self.init(.memoryUnavailable, error.description)
    }
  }
}
