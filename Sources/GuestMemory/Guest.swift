// SPDX-License-Identifier: Apache-2.0

/// A guest that can be moved away: all that an embedder implements.
///
/// The engine calls ``pause()``, ``resume()`` and ``saveState()`` from one thread, in the order
/// `pause … saveState … [resume]`, where `resume` means that the migration did not complete and the guest runs on
/// here. ``throttle(percent:)`` may come at any time from the same thread.
public protocol Guest: AnyObject, Sendable {
  /// The guest's memory. That of a guest which runs must have a ``SourceMemory/mapping``.
  var memory: any SourceMemory { get }

  /// What says which pages were written; nil for a guest that does not run.
  var dirtyLog: (any DirtyLog)? { get }

  /// Stops the guest: when this returns, nothing writes its memory. Devices and I/O threads included.
  /// - Throws: if it cannot be stopped. The guest must then run as before.
  func pause() throws(GuestError)

  /// Lets a paused guest run on, here.
  func resume() throws(GuestError)

  /// Slows the guest down.
  /// - Parameter percent: of its time that it may not run, 0 (full speed) to 99.
  func throttle(percent: Int)

  /// Registers, devices, whatever is not guest memory: opaque to the engine, at most 256 KiB. The guest is paused.
  func saveState() throws(GuestError) -> [UInt8]

  /// Pages that hold nothing, by the guest's own word (a balloon's free-page hints), or nil if it does not say. Asked
  /// once, after the dirty log was started: a page that the guest takes into use meanwhile is in the log.
  func freePages(block: Int) -> SpanMap?
}

extension Guest {
  public func throttle(percent: Int) {}
  public func freePages(block: Int) -> SpanMap? { nil }
}

/// A guest that arrives: what the destination's embedder implements.
///
/// Order of calls: memory is filled, ``loadState(_:)`` before the source lets go, ``resume()`` at the commit. If the
/// migration does not complete, the memory is told so (``DestinationMemory/discard()``) and nothing else happens.
public protocol IncomingGuest: AnyObject, Sendable {
  /// Where the guest's memory goes.
  var memory: any DestinationMemory { get }

  /// Takes over what the source's ``Guest/saveState()`` returned. Memory is complete; the guest stays paused.
  /// - Throws: if this is not a state that it can run from: the guest then runs on at the source.
  func loadState(_ state: [UInt8]) throws(GuestError)

  /// Lets the guest run. Called once, at the commit; nothing that could wait happens before it.
  /// - Throws: only if nothing of the guest has run: its memory is dropped then, and the source keeps the guest paused.
  func resume() throws(GuestError)
}

/// What a guest says when it cannot do what it was asked to.
public struct GuestError: Error, Equatable, Sendable, CustomStringConvertible {
  public let reason: String
  public init(_ reason: String) { self.reason = reason }
  public var description: String { reason }
}

/// Memory that does not change: a migration of it takes one iteration, and there is nothing to pause.
public final class StillGuest: Guest {
  public let memory: any SourceMemory
  public var dirtyLog: (any DirtyLog)? { nil }

  public init(_ memory: any SourceMemory) { self.memory = memory }

  public func pause() throws(GuestError) {}
  public func resume() throws(GuestError) {}
  public func saveState() throws(GuestError) -> [UInt8] { [] }
}

/// The other end of a ``StillGuest``: memory that nothing runs on.
public final class StillArrival: IncomingGuest {
  public let memory: any DestinationMemory

  public init(_ memory: any DestinationMemory) { self.memory = memory }

  public func loadState(_ state: [UInt8]) throws(GuestError) {
    guard state.isEmpty else {
      throw GuestError("the source sent a running guest, and this receiver only keeps memory")
    }
  }

  public func resume() throws(GuestError) {}
}
