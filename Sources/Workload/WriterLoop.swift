// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// What a writer thread does all day.
struct WriterLoop {
  /// Pages between two looks at the clock: microseconds of work.
  private static let batch = 16

  private let crew: WriterCrew
  private let berth: WriterBerth
  private var writer: PageWriter
  private var pace: Pace
  private var duty: DutyCycle
  private var now: UInt64
  /// Nanoseconds since the last write that the thread slept because nothing was due.
  private var slept: UInt64 = 0
  private var longestGap: UInt64 = 0

  /// Runs until the crew is told to stop.
  static func run(_ crew: WriterCrew, thread: Int) {
    // The loop's writer holds raw pointers into the image.
    withExtendedLifetime(crew.image) {
      var loop = WriterLoop(crew, thread: thread)
      loop.run()
    }
  }

  private init(_ crew: WriterCrew, thread: Int) {
    self.crew = crew
    berth = crew.berths[thread]
    // SAFETY: run(_:thread:) keeps the image.
    writer = unsafe PageWriter(crew.image, thread: thread, record: berth.record)
    now = HostClock.now()
    pace = Pace(crew.image.plan, now: now)
    duty = DutyCycle(now: now)
  }

  private mutating func run() {
    while true {
      let order = crew.currentOrder()
      switch order.kind {
      case .run: step(order)
      case .park:
        berth.record = writer.record
        crew.acknowledge(order, berth)
        crew.sleep(order, nanoseconds: -1)
        restart()
      case .stop:
        berth.record = writer.record
        return
      }
    }
  }

  /// One batch of pages, or one sleep.
  private mutating func step(_ order: WriterCrew.Order) {
    let throttled = duty.rest(percent: crew.throttle.load(ordering: .relaxed), now: now)
    if throttled > 0 {
      crew.sleep(order, nanoseconds: Int64(throttled))
      restart()
      return
    }
    let due = pace.due(limit: Self.batch)
    guard due > 0 else {
      let rest = pace.rest
      crew.sleep(order, nanoseconds: Int64(rest))
      let elapsed = advance()
      // What it slept longer than it meant to is a gap.
      slept += min(elapsed, rest)
      return
    }
    var written = 0
    while written < due, crew.stands(order) {
      writer.writeNext()
      written += 1
    }
    guard written > 0 else { return }
    pace.use(pages: written)
    _ = advance()
    note()
  }

  /// Time that does not count has passed: the guest was paused, or throttled.
  private mutating func restart() {
    now = HostClock.now()
    pace.skip(to: now)
    duty.restart(now: now)
  }

  private mutating func advance() -> UInt64 {
    now = HostClock.now()
    let elapsed = pace.advance(to: now)
    writer.record.runNanoseconds &+= elapsed
    return elapsed
  }

  /// A batch was written: statistics.
  private mutating func note() {
    let before = writer.record.lastWrite
    let quiet = now > before ? now - before : 0
    let gap = quiet > slept ? quiet - slept : 0
    if before != 0 && gap > longestGap {
      longestGap = gap
      berth.longestGap.store(gap, ordering: .relaxed)
    }
    writer.record.lastWrite = now
    slept = 0
    berth.writes.store(writer.record.writes, ordering: .relaxed)
  }
}
