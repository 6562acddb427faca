// SPDX-License-Identifier: Apache-2.0

/// Why a migration did not complete: one number for the wire, the report and the exit code, on both sides.
public enum FailureCode: UInt16, Sendable, CaseIterable, Codable {
  case `internal` = 1

  case inputMissing = 10
  case inputNotAnImage = 11
  case badMemoryMap = 12
  case inputChanged = 13
  case inputUnreadable = 14
  case trackingUnavailable = 15
  case guestFailed = 16
  case throttleRefused = 17

  case outputRefused = 20
  case diskFull = 21
  case outputFailed = 22
  case memoryUnavailable = 23
  case guestRefused = 24
  case hypervisorFailed = 25

  case cannotListen = 30
  case peerAbsent = 31
  case peerLost = 32
  case notPageFerry = 33
  case versionMismatch = 34
  case blocksDiffer = 35
  case codecUnknown = 36
  case refused = 37
  case protocolViolation = 38
  case optionRefused = 39

  case digestMismatch = 40
  case outcomeUnknown = 41
  case cancelledByPeer = 42
  /// Cancelled here; the exit code is 128 plus the signal's number if a signal did it.
  case cancelled = 43
  case deadlinePassed = 44

  /// What it means, for the table of exit codes.
  public var meaning: String {
    switch self {
    case .internal: "internal error: please report it"
    case .inputMissing: "the image, or its memory map, cannot be opened"
    case .inputNotAnImage: "the input is not a raw RAM image (a directory, empty, not a multiple of 4096 bytes)"
    case .badMemoryMap: "the memory map is wrong (syntax, overlapping blocks, past the end of the image)"
    case .inputChanged: "the image changed while it was being sent"
    case .inputUnreadable: "the image cannot be read (an I/O error)"
    case .outputRefused: "the output exists, is busy, or may not be created"
    case .diskFull: "the destination's disk is full"
    case .outputFailed: "the output cannot be written (an I/O error)"
    case .memoryUnavailable: "the guest's memory cannot be reserved on this host"
    case .cannotListen: "the receiver, or a control socket, cannot listen (port or path in use, bad address)"
    case .peerAbsent: "no receiver answered within --connect-timeout, or no sender came within --wait"
    case .peerLost: "the peer vanished before the commit"
    case .notPageFerry: "the peer does not speak PageFerry's protocol"
    case .versionMismatch: "the peer speaks another version of the protocol"
    case .blocksDiffer: "the guest's RAM blocks are not those that the receiver expects"
    case .codecUnknown: "the receiver does not know the codec"
    case .refused: "the receiver refused for another reason (busy, over its memory limit)"
    case .protocolViolation: "the peer broke the protocol, or bytes were damaged on the way"
    case .optionRefused: "this host refuses an option (--congestion, --socket-buffer)"
    case .trackingUnavailable: "writes to the guest's memory cannot be tracked on this host (see 'pageferry doctor')"
    case .guestFailed: "the guest could not be paused, or its state not be saved, at the source"
    case .throttleRefused: "a process cannot be throttled, or not be released ('pageferry throttle')"
    case .guestRefused: "the guest's state could not be loaded, or the guest not be resumed, at the destination"
    case .hypervisorFailed: "a hypervisor cancelled, failed, or sent a stream that cannot be ('pageferry proxy')"
    case .digestMismatch: "the destination's memory differs from the source's"
    case .outcomeUnknown: "the connection was lost after the commit: ask the destination before anything else"
    case .cancelledByPeer: "cancelled on the other side"
    case .cancelled: "cancelled on this side (a signal: 128 + its number)"
    case .deadlinePassed: "the guest was not handed over before the deadline (--deadline)"
    }
  }
}
