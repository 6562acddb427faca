// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Migration
import PageCodecs
import PageModel
import Synchronization
import Transport
import Workload

/// One test after another, over a connection that stands.
struct BenchCourse {
  let client: BenchClient
  let channel: LineChannel
  let findings: Findings

  private var configuration: BenchClient.Configuration { client.configuration }

  /// How long the server may take over an answer that takes it no time, and over the end of a test.
  private static let answerLimit = Duration.seconds(10)
  private static let testLimit = Duration.seconds(60)
  /// Shares of the budget: one link test, one direction of one codec.
  private static let linkShare = 0.03
  private static let codecShare = 0.002
  /// Memory for what a codec remembers, over all lanes, as `pageferry send` has it.
  private static let history: UInt64 = 256 << 20

  func run() throws(BenchError) {
    let limit = try introduce()
    try measureRoundTrip()
    try measureLinks()
    try measureHosts(limit)
    try migrate(limit)
  }

  private func check() throws(BenchError) {
    if client.isCancelled { throw .transport(.stopped) }
  }

  private func introduce() throws(BenchError) -> UInt64 {
    try channel.send(.hello(.init(host: findings.client, memoryLimit: nil)))
    let welcome = try channel.expect("welcome", within: Self.answerLimit) { message in
      if case .welcome(let introduction) = message { introduction } else { nil }
    }
    findings.server = welcome.host
    let limit = welcome.memoryLimit ?? 0
    guard configuration.memory <= limit else {
      throw .outOfRange(
        field: "--memory", found: ByteCount.format(configuration.memory),
        allowed: "at most \(ByteCount.format(limit)) (the server's --memory-limit)")
    }
    return limit
  }

  /// The median of some questions and answers, on a link that is idle.
  private func measureRoundTrip() throws(BenchError) {
    client.note(step: "round trips")
    var times: [UInt64] = []
    let started = HostClock.now()
    for number in 0..<UInt32(50) where HostClock.now() - started < 500_000_000 || times.isEmpty {
      let asked = HostClock.now()
      try channel.send(.ping(.init(number: number)))
      let answered = try channel.expect("pong", within: Self.answerLimit) { message in
        if case .pong(let count) = message { count.number } else { nil }
      }
      guard answered == number else { throw .malformed(reason: "the answer to another ping") }
      times.append(HostClock.now() - asked)
    }
    findings.roundTrip = Double(times.sorted()[times.count / 2]) / 1e9
  }

  // MARK: The link

  private func measureLinks() throws(BenchError) {
    let counts = Set([1] + configuration.axes.channels).sorted().prefix(4)
    let seconds = min(1.5, max(0.1, configuration.budget * Self.linkShare))
    for streams in counts {
      try check()
      client.note(step: "link, \(streams) stream\(streams == 1 ? "" : "s")")
      findings.link.append(try measureLink(streams: streams, seconds: seconds))
    }
  }

  private func measureLink(streams: Int, seconds: Double) throws(BenchError) -> LinkFigures {
    try channel.send(.link(.init(streams: streams, seconds: seconds)))
    let ready = try awaitReady()
    var connections: [Connection] = []
    defer { client.attach(streams: []) }
    for _ in 0..<streams {
      let connection: Connection
      do throws(MigrationFailure) { connection = try client.dial(client.endpoint(port: ready.port)) } catch {
        throw .refused(
          code: Int(error.code.rawValue), reason: "its port \(ready.port) cannot be reached (\(error)): see --data-port"
        )
      }
      connections.append(connection)
      client.attach(streams: connections)
      do throws(TransportError) { try connection.send(Array(ready.token.utf8)) } catch { throw .transport(error) }
    }
    _ = try channel.expect("attached", within: Self.answerLimit) { message in
      if case .attached = message { true } else { nil }
    }
    var figures = try LinkSender.run(connections, seconds: seconds, streams: streams)
    let receipt = try channel.expect("linked", within: Self.testLimit) { message in
      if case .linked(let receipt) = message { receipt } else { nil }
    }
    figures.bytesPerSecond = Double(receipt.bytes) / max(receipt.seconds, 1e-6)
    return figures
  }

  private func awaitReady(within limit: Duration = answerLimit) throws(BenchError) -> BenchMessage.Ready {
    try channel.expect("ready", within: limit) { message in
      if case .ready(let ready) = message { ready } else { nil }
    }
  }

  // MARK: The hosts

  private func measureHosts(_ limit: UInt64) throws(BenchError) {
    try check()
    let mix = configuration.axes.contents.first { $0 != Content.image } ?? "\(ContentMix.standard)"
    // `auto` picks among these.
    let wanted = configuration.axes.codecs.contains("auto") ? ["lz4", "zstd", "zstd-long"] : []
    var codecs: [String] = []
    for name in configuration.axes.codecs + wanted {
      guard let choice = try? CodecChoice(parsing: name), choice != .none else { continue }
      if !codecs.contains("\(choice)") { codecs.append("\(choice)") }
    }
    codecs = Array(codecs.prefix(Limits.codecs))
    let seconds = min(0.15, max(0.005, configuration.budget * Self.codecShare))
    let budget = min(configuration.memory, limit)
    client.note(step: "this host")
    if let content = try? WorkloadContent(
      mix: (try? ContentMix(parsing: mix)) ?? .standard, seed: configuration.seed, byteCount: budget)
    {
      findings.clientFigures = HostMeter.measure(
        codecs: codecs, sample: CodecMeter.sample(content, byteCount: budget), budget: budget, seconds: seconds)
    }
    try check()
    client.note(step: "the server's host")
    try channel.send(
      .host(.init(codecs: codecs, mix: mix, seed: configuration.seed, memory: budget, seconds: seconds)))
    findings.serverFigures = try channel.expect("measured", within: Self.testLimit) { message in
      if case .measured(let figures) = message { figures } else { nil }
    }
  }

  // MARK: Migrations

  private func migrate(_ limit: UInt64) throws(BenchError) {
    let rate = findings.link.map { $0.bytesPerSecond }.max() ?? 1e9
    let guess = Double(configuration.memory) * (1 / max(rate, 1) + 1 / 1e9) + 0.1
    var schedule = Schedule(configuration.axes, guess: guess)
    defer { findings.skipped = schedule.skipped }
    var content: Content
    do throws(WorkloadError) {
      content = try Content(
        names: configuration.axes.contents, memory: configuration.memory, seed: configuration.seed,
        imagePath: configuration.imagePath)
    } catch { throw .malformed(reason: "\(error)") }
    if let refusal = DirtyTracking.refusal(of: .automatic, isShared: false) {
      for cell in configuration.axes.cells where cell.runs { schedule.drop(cell, "\(refusal)") }
    }
    var failures = 0
    while let (cell, seconds) = schedule.next(secondsLeft: client.secondsLeft) {
      try check()
      let began = HostClock.now()
      let run = try migrate(cell, &content, seconds: seconds, limit: limit)
      schedule.note(cell, seconds: Double(HostClock.now() - began) / 1e9)
      try check()
      findings.add(run, of: cell)
      if run.outcome != .completed { schedule.doNotRepeat(cell) }
      failures = run.outcome == .failed ? failures + 1 : 0
      if failures == 3 {
        throw .refused(code: Int(FailureCode.refused.rawValue), reason: run.reason ?? "three migrations failed")
      }
    }
  }

  private func migrate(
    _ cell: Cell, _ content: inout Content, seconds: Double, limit: UInt64
  ) throws(BenchError) -> CellRun {
    client.note(step: "preparing \(cell.summary)")
    let guest: any Guest
    do throws(GuestMemoryError) {
      guest = try content.guest(for: cell, isCancelled: { [client] in client.isCancelled })
    } catch {
      let failure = MigrationFailure(input: error)
      throw .refused(code: Int(failure.code.rawValue), reason: failure.reason)
    }
    defer { (guest as? WorkloadGuest)?.stop() }
    try check()
    let lanes = cell.lanes(cpus: findings.client.cpus)
    // What the server reserves with the guest's memory is within its limit.
    let history = min(Self.history, limit - min(limit, configuration.memory))
    try channel.send(
      .cell(
        .init(
          memory: guest.memory.blocks.byteCount, history: history, channels: cell.channels, lanes: lanes,
          runs: cell.runs, seconds: min(Limits.cellSeconds.upperBound, max(Limits.cellSeconds.lowerBound, seconds)))))
    let ready = try awaitReady(within: Self.testLimit)
    client.note(step: cell.summary)
    let source = SourceRun(
      cell: cell, guest: guest, endpoint: client.endpoint(port: ready.port),
      socketOptions: configuration.socketOptions, lanes: lanes, history: max(1 << 20, history), limit: seconds,
      software: configuration.software)
    var run: CellRun
    do throws(CodecError) { run = try source.run { client.attach($0) } } catch { throw .malformed(reason: "\(error)") }
    run.destination = try channel.expect("received", within: Self.testLimit) { message in
      if case .received(let figures) = message { figures } else { nil }
    }
    return run
  }
}

extension Cell {
  /// `zstd:1, 2 channels, 25:45:30, 100 MB/s`
  public var summary: String {
    var parts = [codec, "\(channels) channel\(channels == 1 ? "" : "s")"]
    if workers > 0 { parts.append("\(workers) worker\(workers == 1 ? "" : "s")") }
    parts.append(content)
    parts.append(runs ? "dirty \(Decimal.fixed(dirtyRate, digits: 0)) MB/s" : "paused")
    return parts.joined(separator: ", ")
  }
}
