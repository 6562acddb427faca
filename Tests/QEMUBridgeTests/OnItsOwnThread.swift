// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Tests that wait for other processes most of the time: they leave the runner's threads to others.
struct OnItsOwnThread: SuiteTrait, TestTrait, TestScoping {
  /// Each suite's tests, and cases of tests.
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    // A suite's own scope holds all its tests: those are what is moved.
    guard testCase != nil else { return try await function() }
    try await withTaskExecutorPreference(OwnThread(name: "own-thread")) { try await function() }
  }
}

extension Trait where Self == OnItsOwnThread {
  static var onItsOwnThread: Self { OnItsOwnThread() }
}
