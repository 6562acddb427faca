// SPDX-License-Identifier: Apache-2.0
import Synchronization

// What has left here, and what of it the other half has confirmed.
extension RelaySource {
  /// Everything before `position` of the stream is part of iterations up to this one, or relayed with so many more bytes.
  func noteUnderWay(upTo position: UInt64, iteration: UInt32, relaying byteCount: Int) {
    state.withLock { state in
      state.iteration = iteration
      state.relayed += UInt64(byteCount)
      state.underWay.append((position, iteration, state.relayed))
    }
  }

  /// The other half has more than before.
  func settle(_ note: (inout State) -> Void) {
    let (position, iteration) = state.withLock { state -> (UInt64?, UInt32) in
      note(&state)
      // A peer may say anything: no more than was begun is confirmed.
      state.confirmedIteration = min(state.confirmedIteration, state.iteration)
      var position: UInt64?
      while let first = state.underWay.first, first.iteration <= state.confirmedIteration, first.relayed <= state.taken
      {
        position = first.position
        state.underWay.removeFirst()
      }
      return (position, state.confirmedIteration)
    }
    stream.confirmedIteration.store(iteration, ordering: .releasing)
    if let position { window.confirm(upTo: position) }
  }
}
