// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import HostSystem
import PageFerry

/// `pageferry throttle`.
struct ThrottleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "throttle", abstract: "Slow another process down for a while, and say what came of it.",
    discussion: """
      For a guest that writes its memory faster than a link carries it, or just to see how it bears it. The process \
      gets its full speed back when this ends, however it ends: Ctrl-C, a signal, or kill -9.

        pageferry throttle --pid 4711 --percent 50 --for 30

      --method cgroup sets the CPU quota of the process's control group, which must hold nothing else; signals stops and \
      continues the process in turns; automatic takes the first if it can. Once a second, a line on standard output says \
      what is measured.
      """)

  @Option(help: ArgumentHelp("The process to throttle.", valueName: "number"))
  var pid: Int32?

  @Option(help: ArgumentHelp("Of its time that it may not run, 0 (only measure) to 99.", valueName: "percent"))
  var percent: Int?

  @Option(
    name: .customLong("for"), help: ArgumentHelp("End after this long; without it, on Ctrl-C.", valueName: "seconds"))
  var seconds: Double?

  @Option(help: "How: automatic, cgroup or signals.")
  var method = ProcessThrottle.Method.automatic

  @Flag(
    help: "Only release what was left throttled on this host by a pageferry that was killed, and its guardian with it.")
  var releaseAbandoned = false

  @Flag(name: .shortAndLong, help: "Print nothing but errors.")
  var quiet = false

  func validate() throws {
    if releaseAbandoned { return }
    guard let pid, pid > 1 else { throw ValidationError("--pid takes the number of a process, larger than 1.") }
    guard let percent, (0...99).contains(percent) else { throw ValidationError("--percent takes 0 to 99.") }
    guard seconds.map({ $0 > 0 && $0 <= 86400 * 365 }) ?? true else {
      throw ValidationError("--for takes more than 0 seconds, and at most a year.")
    }
  }

  func run() throws {
    let cancelled = Cancellation()
    // Before the thread that throttles: it would take the signals.
    Outcome.onTermination { cancelled.cancel($0) }
    // A process that Ctrl-Z stops would leave the other one stopped.
    _ = signal(SIGTSTP, SIG_IGN)
    guard let pid, let percent, !releaseAbandoned else {
      for sentence in ProcessThrottle.releaseAbandoned() { say(sentence) }
      return
    }
    do throws(ThrottleError) {
      let throttle = try ProcessThrottle(
        pid: pid, method: method,
        guardian: .program(path: "/proc/self/exe", arguments: [ThrottleGuardianCommand.name]))
      for sentence in throttle.notes { say(sentence) }
      try throttle.set(percent: percent)
      say("process \(pid): \(percent) % by \(throttle.method == .cgroup ? "its control group" : "signals")")
      watch(throttle, cancelled)
      if let failure = throttle.release() { throw failure }
      say("process \(pid) \(throttle.hasEnded ? "has ended" : "runs at full speed again")")
    } catch {
      throw Outcome.exit(MigrationFailure(.throttleRefused, error.description))
    }
    if let reason = cancelled.reason { throw Outcome.exit(MigrationFailure(.cancelled, reason)) }
  }

  /// Prints what is measured until the time is up, the process ends, or somebody wants it to end.
  private func watch(_ throttle: ProcessThrottle, _ cancelled: Cancellation) {
    let spot = ParkingSpot()
    cancelled.onCancel { _ in spot.wake() }
    let start = HostClock.now()
    let limit = seconds.map { UInt64($0 * 1e9) } ?? .max
    var told: UInt64 = 0
    while !throttle.hasEnded, !cancelled.isCancelled {
      let passed = HostClock.now() - start
      guard passed < limit else { return }
      let pause = min(1_000_000_000 - passed % 1_000_000_000, limit - passed)
      // In short steps, to see a process end.
      _ = spot.wait(nanoseconds: Int64(min(pause, 100_000_000))) { cancelled.isCancelled }
      let second = (HostClock.now() - start) / 1_000_000_000
      if second > told, !throttle.hasEnded {
        told = second
        if !quiet { Console.output(Self.line(throttle, second: second)) }
      }
    }
  }

  private static func line(_ throttle: ProcessThrottle, second: UInt64) -> String {
    let measured = throttle.measuredPercent.map { Decimal.fixed($0, digits: 1) } ?? "-"
    let use = throttle.cpuUse.map { Decimal.fixed($0, digits: 2) } ?? "-"
    let before = throttle.unthrottledUse.map { " of \(Decimal.fixed($0, digits: 2))" } ?? ""
    return "\(second) s  throttled \(measured) %, asked \(throttle.percent) %  CPUs \(use)\(before)"
  }

  private func say(_ sentence: String) {
    if !quiet { Console.shared.print("pageferry: \(sentence)") }
  }
}

/// What `pageferry throttle` starts, and what an embedder may: see `ThrottleGuardian`.
struct ThrottleGuardianCommand: ParsableCommand {
  static let name = "throttle-guardian"
  static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

  func run() throws {
    let code = ThrottleGuardian.run()
    if code != 0 { throw ExitCode(code) }
  }
}
