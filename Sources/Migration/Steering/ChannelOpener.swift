// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
import Logging
import Synchronization
import Transport
import Wire

/// Brings a migration that is under way to the number of data channels that is wanted.
///
/// What is open is used at once. What is missing is opened by a thread of its own, one after the other: neither the
/// session nor who asks waits for it. If one cannot be opened, the migration goes on with those that there are, and the
/// setting is put back to their number.
final class ChannelOpener: Sendable {
  private struct State {
    var isStopped = false
    /// The thread that opens channels, and whether it is at work.
    var thread: HostThread?
    var isAtWork = false
    /// What it waits for now.
    var connection: Connection?
  }

  private let state = Mutex(State())
  private let pipeline: SendingPipeline
  private let controls: Controls
  private let record: SourceRecord
  private let accept: ControlMessage.Accept
  private let configuration: SourceSession.Configuration

  /// - Parameter accept: the destination's, with the token that channels show.
  init(
    _ pipeline: SendingPipeline, controls: Controls, record: SourceRecord, accept: ControlMessage.Accept,
    configuration: SourceSession.Configuration
  ) {
    self.pipeline = pipeline
    self.controls = controls
    self.record = record
    self.accept = accept
    self.configuration = configuration
  }

  /// Does as the settings say; any thread, and at once.
  func follow() {
    state.withLock { state in
      let wanted = controls.settings.channels
      pipeline.use(channelCount: wanted)
      guard wanted > pipeline.channelCount, !state.isStopped, !state.isAtWork else { return }
      state.isAtWork = true
      // The one before has nothing left to do.
      state.thread?.join()
      state.thread = HostThread(name: "pf-open") { [self] in work() }
    }
  }

  /// Opens no more, and waits for nothing. May be called again.
  func stop() {
    let thread = state.withLock { state -> HostThread? in
      state.isStopped = true
      state.connection?.shutDown()
      defer { state.thread = nil }
      return state.thread
    }
    thread?.join()
  }

  private var isStopped: Bool { state.withLock { $0.isStopped } }

  private func work() {
    while true {
      let isDone = state.withLock { state in
        pipeline.use(channelCount: controls.settings.channels)
        state.connection = nil
        if pipeline.channelCount >= controls.settings.channels || state.isStopped { state.isAtWork = false }
        return !state.isAtWork
      }
      if isDone { return }
      do throws(MigrationFailure) { try open(pipeline.channelCount + 1) } catch { return giveUp(error) }
    }
  }

  private func giveUp(_ failure: MigrationFailure) {
    let (count, isStopped) = state.withLock { state in
      state.connection = nil
      state.isAtWork = false
      let count = pipeline.channelCount
      controls.change { $0.channels = min($0.channels, count) }
      return (count, state.isStopped)
    }
    guard !isStopped else { return }
    configuration.logger.warning(
      "channels: another data channel could not be opened, there are \(count): \(failure.reason)")
  }

  private func open(_ number: Int) throws(MigrationFailure) {
    let dialer = Dialer(endpoint: configuration.endpoint, options: configuration.socketOptions)
    let connection: Connection
    do throws(TransportError) {
      connection = try dialer.connect(within: configuration.connectTimeout, isCancelled: { self.isStopped })
    } catch { throw MigrationFailure(connecting: error) }
    let isStopped = state.withLock { state in
      state.connection = connection
      return state.isStopped
    }
    guard !isStopped else { throw MigrationFailure(.cancelled, "the migration is over") }
    let channel = ControlChannel(connection)
    do throws(MigrationFailure) {
      try channel.attach(accept, number: number) { () throws(MigrationFailure) in try channel.receive() }
    } catch {
      connection.shutDown()
      throw error
    }
    record.add(connection)
    guard pipeline.add(connection) else {
      connection.shutDown()
      throw MigrationFailure(.cancelled, "the migration is over")
    }
  }
}
