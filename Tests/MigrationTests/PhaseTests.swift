// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Migration

@Suite struct PhaseTests {
  /// The whole table, written out independently: everything that is not here is not allowed.
  static let allowed: [(Phase, PhaseEvent, Phase)] = [
    (.setup, .accepted, .reservation), (.setup, .cancel, .cancelled), (.setup, .fail, .failed),
    (.reservation, .reserved, .active), (.reservation, .cancel, .cancelled), (.reservation, .fail, .failed),
    (.active, .converged, .switchover), (.active, .cancel, .cancelled), (.active, .fail, .failed),
    (.switchover, .ready, .commit), (.switchover, .cancel, .cancelled), (.switchover, .fail, .failed),
    (.commit, .resumed, .completed), (.commit, .fail, .failed),
  ]

  @Test("Exactly the transitions of the table are allowed", arguments: Phase.allCases, PhaseEvent.allCases)
  func table(phase: Phase, event: PhaseEvent) {
    let expected = Self.allowed.first { $0.0 == phase && $0.1 == event }?.2
    #expect(phase.next(after: event) == expected)
  }

  @Test("After the commit there is no cancelling")
  func commitIsFinal() { #expect(Phase.commit.next(after: .cancel) == nil) }

  @Test("Every phase that is not final can fail; a final one goes nowhere", arguments: Phase.allCases)
  func finality(phase: Phase) {
    #expect((phase.next(after: .fail) == .failed) == !phase.isFinal)
    if phase.isFinal { #expect(PhaseEvent.allCases.allSatisfy { phase.next(after: $0) == nil }) }
  }

  @Test("Exit codes are small and their own")
  func exitCodes() {
    #expect(FailureCode.allCases.allSatisfy { (1..<64).contains($0.rawValue) })
    #expect(FailureCode.allCases.allSatisfy { !$0.meaning.isEmpty })
  }
}
