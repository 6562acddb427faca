// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import Synchronization

/// Where the connections of a source hypervisor with multifd meet.
///
/// First it is found out whether the channels' pages can be taken apart. If so, the stream and its channels come to the same
/// barriers: at each, everybody waits until everybody is there, so that no page overtakes an older version of itself on
/// another connection. Whatever goes wrong with one of them wakes all.
final class MultifdGate: Sendable {
  /// How the channels are carried.
  enum Way: Sendable, Equatable {
    case pages
    /// As they are; why, in words, if nobody was told yet.
    case verbatim(String?)
  }

  private struct State {
    /// By channel.
    var glances: [MultifdGlance] = []
    var way: Way?
    var channelCount = 0
    var pages: ChannelPages?
    /// Barriers that are behind everybody, beginning with the one behind the list of blocks.
    var round = 0
    var arrived = 0
    var streamIsHere = false
    /// What channels are to pass on, for the barrier that the stream waits at, and for the one before it.
    var passing = 0
    var passingBehind = 0
    /// A channel has ended.
    var someoneIsGone = false
    var isComplete = false
    var failure: MigrationFailure?
    var watchers: [@Sendable (MigrationFailure) -> Void] = []

    mutating func advanceIfAllAreHere() {
      guard streamIsHere, arrived == channelCount else { return }
      (round, arrived, streamIsHere, passingBehind) = (round + 1, 0, false, passing)
    }
  }

  private let state = Mutex(State())
  private let change = ParkingSpot()
  /// How long to wait for the first pages, in nanoseconds, before it is believed that they come as they are.
  private let patience: Int64

  init(patience: Duration = .seconds(10)) { self.patience = Int64(clamping: patience.nanoseconds) }

  // MARK: Which way

  /// A channel has come.
  /// - Returns: its number here.
  func enrol() throws(MigrationFailure) -> Int {
    let number = state.withLock { state -> Int? in
      guard state.way != .pages else { return nil }
      state.glances.append(.coming)
      return state.glances.count - 1
    }
    guard let number else {
      throw MigrationFailure(
        .hypervisorFailed, "the hypervisor has made a further multifd channel behind its first page")
    }
    return number
  }

  /// What a channel's first bytes have said so far.
  func note(_ glance: MultifdGlance, of channel: Int) {
    state.withLock { $0.glances[channel] = glance }
    change.wake()
  }

  /// Nil until it is known.
  var way: Way? { state.withLock { $0.way } }

  /// For a channel that can say no more: waits until it is known how channels are carried.
  func awaitWay() throws(MigrationFailure) -> Way {
    _ = change.wait { self.state.withLock { $0.way != nil || $0.failure != nil } }
    let (way, failure) = state.withLock { ($0.way, $0.failure) }
    if let way { return way }
    throw failure ?? Self.gone
  }

  /// For the stream, which has come to its first pages: finds out how channels are carried.
  /// - Parameters:
  ///   - count: connections beside the stream's.
  ///   - refusal: why they have to be carried as they are, if that is so already.
  func decide(channels count: Int, refusal: Way?) -> Way {
    if refusal == nil {
      _ = change.wait(nanoseconds: patience) { self.state.withLock { self.judge($0, count) != nil } }
    }
    let way = state.withLock { state -> Way in
      let isThere = state.glances.count == count && !state.glances.contains(.coming)
      let found =
        refusal ?? judge(state, count)
        ?? (isThere ? .pages : .verbatim("the hypervisor has made a connection that is none of multifd's"))
      state.way = found
      state.channelCount = count
      return found
    }
    change.wake()
    return way
  }

  private func judge(_ state: borrowing State, _ count: Int) -> Way? {
    for case .opaque(let reason) in state.glances { return .verbatim("multifd channels carry \(reason)") }
    guard state.glances.count == count, !state.glances.contains(.coming), state.glances.contains(.plain) else {
      return nil
    }
    return .pages
  }

  // MARK: Pages

  /// The stream's session is ready to take channels' pages.
  func open(_ pages: ChannelPages) {
    state.withLock { $0.pages = pages }
    change.wake()
  }

  /// For a channel: waits until its pages can be taken.
  func awaitPages() throws(MigrationFailure) -> ChannelPages {
    _ = change.wait { self.state.withLock { $0.pages != nil || $0.failure != nil } }
    let (pages, failure) = state.withLock { ($0.pages, $0.failure) }
    if let failure { throw failure }
    guard let pages else { throw Self.gone }
    return pages
  }

  // MARK: Barriers

  /// A channel has come to its next barrier: returns when everybody has.
  /// - Returns: how many packets that say SYNC go on to the destination's hypervisor.
  func arrive() throws(MigrationFailure) -> Int {
    try meet { $0.arrived += 1 }
    // The next barrier is not behind everybody before this one has come there, too.
    return state.withLock { $0.passingBehind }
  }

  /// The stream has come to its next barrier: returns when everybody has.
  /// - Parameter passing: how many packets that say SYNC each channel passes on.
  func arrive(passing: Int) throws(MigrationFailure) {
    try meet { state in
      state.streamIsHere = true
      state.passing = passing
    }
  }

  private func meet(_ come: (inout State) -> Void) throws(MigrationFailure) {
    let round = state.withLock { state -> Int in
      let round = state.round
      come(&state)
      state.advanceIfAllAreHere()
      return round
    }
    failIfAbandoned()
    change.wake()
    _ = change.wait { self.state.withLock { $0.round != round || $0.failure != nil } }
    let (isThere, failure) = state.withLock { ($0.round != round, $0.failure) }
    guard !isThere else { return }
    throw failure ?? Self.gone
  }

  /// A channel has ended: waits until that was due, at the end of RAM.
  func noteEnd() throws(MigrationFailure) {
    state.withLock { $0.someoneIsGone = true }
    failIfAbandoned()
    _ = change.wait { self.state.withLock { $0.isComplete || $0.failure != nil } }
    let (isComplete, failure) = state.withLock { ($0.isComplete, $0.failure) }
    guard !isComplete else { return }
    throw failure ?? Self.gone
  }

  /// Nobody waits for who will not come.
  private func failIfAbandoned() {
    let isAbandoned = state.withLock { $0.someoneIsGone && ($0.streamIsHere || $0.arrived > 0) }
    guard isAbandoned else { return }
    fail(
      MigrationFailure(
        .hypervisorFailed, "the hypervisor has closed a multifd channel before the stream's next barrier"))
  }

  /// The last barrier is behind the stream: channels may end.
  func complete() {
    state.withLock { $0.isComplete = true }
    change.wake()
  }

  // MARK: Failures

  /// Has `watcher` told what has gone wrong with any connection, before all pages are there.
  func watch(_ watcher: @escaping @Sendable (MigrationFailure) -> Void) {
    let failure = state.withLock { state in
      state.watchers.append(watcher)
      return state.failure
    }
    if let failure { watcher(failure) }
  }

  /// A connection has failed: so do all, unless all pages are there.
  func fail(_ failure: MigrationFailure) {
    let watchers = state.withLock { state -> [@Sendable (MigrationFailure) -> Void] in
      guard state.failure == nil, !state.isComplete else { return [] }
      state.failure = failure
      return state.watchers
    }
    change.wake()
    for watcher in watchers { watcher(failure) }
  }

  private static var gone: MigrationFailure { MigrationFailure(.internal, "a multifd channel was left alone") }
}
