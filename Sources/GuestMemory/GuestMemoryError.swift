// SPDX-License-Identifier: Apache-2.0
public import PageKernels
public import PageModel
public import SystemPackage

/// Why guest memory could not be read, reserved or written.
public enum GuestMemoryError: Error, Equatable, CustomStringConvertible {
  case cannotOpen(path: String, Errno)
  case notAnImage(path: String, what: String)
  case notPageMultiple(path: String, byteCount: UInt64)
  case badMap(path: String, reason: String)
  case badBlocks(BlockTableError)
  case mapPastEnd(path: String, block: String, end: UInt64, byteCount: UInt64)
  case changedWhileRead(path: String)
  case readFailed(path: String, offset: UInt64, Errno)
  case outputExists(path: String)
  case outputBusy(path: String)
  case writeFailed(path: String, offset: UInt64, Errno)
  case diskFull(path: String, offset: UInt64)
  case cannotFinish(path: String, step: String, Errno)
  case cannotReserve(byteCount: UInt64, reason: String)
  case blocksDiffer(reason: String)
  case badDelta(Delta.Fault)
  case trackingUnavailable(reason: String)
  case trackingFailed(step: String, Errno)

  public var description: String {
    switch self {
    case .cannotOpen(let path, let errno): "cannot open '\(path)': \(errno)"
    case .notAnImage(let path, let what): "'\(path)' is \(what), not a raw RAM image"
    case .notPageMultiple(let path, let count):
      "'\(path)' has \(count) bytes: a raw RAM image is a whole number of 4096-byte pages "
        + "(\(count % 4096) bytes too many; was it cut off?)"
    case .badMap(let path, let reason): "memory map '\(path)': \(reason)"
    case .badBlocks(let error): error.description
    case .mapPastEnd(let path, let block, let end, let count):
      "memory map puts RAM block '\(block)' up to byte \(end) of '\(path)', which has \(count)"
    case .changedWhileRead(let path):
      "'\(path)' changed while it was being sent: stop the guest that writes to it, or send it live"
    case .readFailed(let path, let offset, let errno): "cannot read '\(path)' at byte \(offset): \(errno)"
    case .outputExists(let path): "'\(path)' exists already: choose another name, or give --replace"
    case .outputBusy(let path): "'\(path)' is being written by another receiver"
    case .writeFailed(let path, let offset, let errno): "cannot write '\(path)' at byte \(offset): \(errno)"
    case .diskFull(let path, let offset): "the disk is full: '\(path)' could not be written at byte \(offset)"
    case .cannotFinish(let path, let step, let errno): "cannot \(step) '\(path)': \(errno)"
    case .cannotReserve(let count, let reason): "cannot reserve \(ByteCount.format(count)) of guest memory: \(reason)"
    case .blocksDiffer(let reason): "RAM blocks differ: \(reason)"
    case .badDelta(let fault): "a delta is damaged: \(fault)"
    case .trackingUnavailable(let reason): "writes to guest memory cannot be tracked here: \(reason)"
    case .trackingFailed(let step, let errno): "tracking writes to guest memory failed: \(step): \(errno)"
    }
  }
}
