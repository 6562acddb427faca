// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import Synchronization

/// What a lane has done with the codecs of one policy. The lane adds, anyone reads.
final class CodecTally: Sendable {
  /// One for each choice of the policy, in its order.
  let codecs: [CodecCounters]
  /// The choice in use, as an index into `codecs`, and how often it has changed.
  let choice = Atomic<Int>(0)
  let choiceChanges = Atomic<Int>(0)

  init(choiceCount: Int) { codecs = (0..<choiceCount).map { _ in CodecCounters() } }
}

/// The codec policy of a pipeline, which may be changed while it runs. Lanes look at ``generation`` before each frame and
/// take the new policy with it; what was done under the old ones stays counted.
final class CodecSelection: Sendable {
  /// A policy, and what each lane does under it.
  struct Epoch: Sendable {
    let policy: CodecPolicy
    let tallies: [CodecTally]
  }

  /// Changes that are kept one by one; of more, an operator's script is the cause.
  static let epochCountMax = 1000

  private let laneCount: Int
  private let epochs: Mutex<[Epoch]>
  /// Grows with each change.
  let generation = Atomic<Int>(0)

  init(_ policy: CodecPolicy, laneCount: Int) {
    self.laneCount = laneCount
    epochs = Mutex([Self.epoch(policy, laneCount)])
  }

  private static func epoch(_ policy: CodecPolicy, _ laneCount: Int) -> Epoch {
    Epoch(policy: policy, tallies: (0..<laneCount).map { _ in CodecTally(choiceCount: policy.choices.count) })
  }

  /// Changes the policy; any thread.
  /// - Returns: false if it was changed too often.
  func set(_ policy: CodecPolicy) -> Bool {
    epochs.withLock { epochs in
      guard epochs.last?.policy != policy else { return true }
      guard epochs.count < Self.epochCountMax else { return false }
      epochs.append(Self.epoch(policy, laneCount))
      generation.add(1, ordering: .releasing)
      return true
    }
  }

  /// The policy that holds, and its tally for a lane.
  func current(lane: Int) -> (policy: CodecPolicy, tally: CodecTally) {
    epochs.withLock { epochs in
      let last = epochs[epochs.count - 1]
      return (last.policy, last.tallies[lane])
    }
  }

  var all: [Epoch] { epochs.withLock { $0 } }
}

extension SendingStatistics {
  /// Adds what was done with codecs, by every lane and under every policy; each codec once.
  mutating func add(_ selection: CodecSelection) {
    let all = selection.all
    for (index, epoch) in all.enumerated() {
      let choices = epoch.policy.choices
      for (number, choice) in choices.enumerated() {
        var use = CodecUsage(codec: choice)
        for tally in epoch.tallies {
          use.add(tally.codecs[number])
          if index == all.count - 1, tally.choice.load(ordering: .relaxed) == number { use.lanes += 1 }
        }
        if let known = codecs.firstIndex(where: { $0.codec == use.codec }) {
          codecs[known].merge(use)
        } else {
          codecs.append(use)
        }
      }
      codecChanges += epoch.tallies.reduce(0) { $0 + $1.choiceChanges.load(ordering: .relaxed) }
      for lane in lanes.indices {
        lanes[lane].encoding += epoch.tallies[lane].codecs.reduce(0) { $0 + $1.cpuNanoseconds.load(ordering: .relaxed) }
      }
    }
    // A policy that was taken up anew is one more change.
    codecChanges += all.count - 1
  }
}
