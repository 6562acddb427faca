// SPDX-License-Identifier: Apache-2.0

/// Calls that are to fail, each with its reason: for tests of how an embedder's errors are dealt with.
///
/// A call that fails has done nothing: a guest that could not be paused runs on.
public struct WorkloadFailures: Sendable, Equatable {
  public var pause: String?
  public var resume: String?
  public var saveState: String?
  public var loadState: String?

  public init(pause: String? = nil, resume: String? = nil, saveState: String? = nil, loadState: String? = nil) {
    self.pause = pause
    self.resume = resume
    self.saveState = saveState
    self.loadState = loadState
  }
}
