// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import PageModel
import Synchronization

/// The other end of a ``WorkloadGuest``: takes its state, and lets it run on in this process.
public final class WorkloadArrival: IncomingGuest {
  private let anonymous: AnonymousMemory
  private let dirtyLog: (any DirtyLog)?
  private let arrived = Mutex<WorkloadGuest?>(nil)
  private let injected = Mutex(WorkloadFailures())

  /// - Parameters:
  ///   - memory: where the guest's memory goes, and where the guest will run.
  ///   - dirtyLog: for when the guest moves on from here.
  public init(_ memory: AnonymousMemory, dirtyLog: (any DirtyLog)? = nil) {
    anonymous = memory
    self.dirtyLog = dirtyLog
    // Found now: when the state is loaded, a guest is down.
    _ = (Vocabulary.standard, BootIdentity.current)
  }

  public var memory: any DestinationMemory { anonymous }

  /// The guest, once its state was loaded: paused until ``resume()``.
  public var guest: WorkloadGuest? { arrived.withLock { $0 } }

  /// Calls that are to fail: for tests of an embedder's error paths.
  public var failures: WorkloadFailures {
    get { injected.withLock { $0 } }
    set { injected.withLock { $0 = newValue } }
  }

  /// Reads the state, which is not trusted, and starts the guest's threads; they wait.
  public func loadState(_ state: [UInt8]) throws(GuestError) {
    if let reason = failures.loadState { throw GuestError(reason) }
    try arrived.withLock { arrived throws(GuestError) in
      guard arrived == nil else { throw GuestError("the guest's state was loaded already") }
      do throws(WorkloadError) {
        let state = try WorkloadState(decoding: state, guestByteCount: anonymous.blocks.byteCount)
        arrived = try WorkloadGuest(state, memory: anonymous, dirtyLog: dirtyLog)
      } catch { throw GuestError(error.description) }
    }
  }

  public func resume() throws(GuestError) {
    if let reason = failures.resume { throw GuestError(reason) }
    try loaded().resume()
  }

  /// As ``WorkloadGuest/verify(everything:)``.
  public func verify(everything: Bool) throws(GuestError) -> WorkloadVerification {
    try loaded().verify(everything: everything)
  }

  private func loaded() throws(GuestError) -> WorkloadGuest {
    guard let guest else { throw GuestError("no state was loaded: there is no guest to run") }
    return guest
  }
}
