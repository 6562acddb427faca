// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import HostSystem
import PageModel
import Synchronization

/// A guest in this process: threads that write its memory as a plan says, and that can prove afterwards, wherever the
/// guest has got to, that its memory is what they made it.
///
/// Every write of a page leaves a mark in it, every byte follows from the plan, the page and the number of its writes,
/// and every thread keeps a total over its pages that travels in the guest's state. ``verify(everything:)`` compares.
///
/// Any thread may call; one call at a time takes effect. Dropping the last reference stops the threads.
public final class WorkloadGuest: Guest {
  /// What the guest does.
  public let plan: WorkloadPlan
  public let dirtyLog: (any DirtyLog)?
  private let source: ProcessMemorySource
  private let image: GuestImage
  /// Held while a call takes effect.
  private let phase: Mutex<Phase>
  /// What the threads begin with, until there are threads.
  private let initial: [WriterRecord]
  /// The threads, once there are any. Held only to look: statistics do not wait for a verification.
  private let crew: Mutex<WriterCrew?>
  private let meter: RateMeter
  private let injected = Mutex(WorkloadFailures())

  private enum Phase { case created, running, paused, stopped }

  /// A guest that does not run yet.
  /// - Parameters:
  ///   - memory: zeros. The guest writes it, and keeps it mapped.
  ///   - dirtyLog: handed on to whoever moves the guest; the guest itself does not use it.
  /// - Throws: ``WorkloadError`` if the plan does not fit the memory.
  public convenience init(
    _ plan: WorkloadPlan, memory: AnonymousMemory, dirtyLog: (any DirtyLog)? = nil
  ) throws(WorkloadError) {
    let image = try GuestImage(plan, memory: memory)
    let records = (0..<plan.writerCount).map { WriterRecord(seed: plan.seed, thread: $0) }
    // Found now: when the state is saved, the guest is down.
    _ = BootIdentity.current
    self.init(image, records: records, crew: nil, dirtyLog: dirtyLog)
  }

  /// A guest that was running elsewhere: paused, its threads ready to go on.
  convenience init(_ state: WorkloadState, memory: AnonymousMemory, dirtyLog: (any DirtyLog)?) throws(WorkloadError) {
    let image = try GuestImage(state.plan, memory: memory)
    let records = state.records.map { record in
      var record = record
      // Times of another clock mean nothing here.
      if state.clock != BootIdentity.current || state.clock == 0 { record.lastWrite = 0 }
      return record
    }
    self.init(image, records: records, crew: WriterCrew(image, records: records), dirtyLog: dirtyLog)
  }

  private init(_ image: GuestImage, records: [WriterRecord], crew: WriterCrew?, dirtyLog: (any DirtyLog)?) {
    plan = image.plan
    self.image = image
    self.dirtyLog = dirtyLog
    let memory = image.pages.memory
    // SAFETY: the blocks are mapped as long as `image` keeps the memory, and this guest keeps the image.
    source = unsafe ProcessMemorySource(
      blocks: memory.blocks,
      bases: memory.blocks.blocks.indices.map { unsafe UnsafeRawPointer(memory.base(block: $0)) }, owner: memory)
    phase = Mutex(crew == nil ? .created : .paused)
    initial = records
    self.crew = Mutex(crew)
    meter = RateMeter(records.reduce(0) { $0 &+ $1.writes })
  }

  deinit { stop() }

  public var memory: any SourceMemory { source }

  /// Calls that are to fail: for tests of an embedder's error paths.
  public var failures: WorkloadFailures {
    get { injected.withLock { $0 } }
    set { injected.withLock { $0 = newValue } }
  }

  /// Writes what memory holds at first. Before ``start()``, once.
  public func fill() {
    phase.withLock { phase in
      precondition(phase == .created, "memory is filled before the guest runs")
      image.fill()
    }
  }

  /// Lets the guest run for the first time.
  public func start() {
    phase.withLock { phase in
      precondition(phase == .created, "a guest starts once")
      let started = WriterCrew(image, records: initial)
      crew.withLock { $0 = started }
      started.run()
      phase = .running
    }
  }

  public func pause() throws(GuestError) {
    if let reason = failures.pause { throw GuestError(reason) }
    phase.withLock { phase in
      guard phase == .running else { return }
      threads?.park()
      phase = .paused
    }
  }

  public func resume() throws(GuestError) {
    if let reason = failures.resume { throw GuestError(reason) }
    try phase.withLock { phase throws(GuestError) in
      switch phase {
      case .stopped: throw GuestError("the guest was stopped and cannot run on")
      // One that never ran does not do so because a migration of it failed.
      case .created, .running: return
      case .paused:
        threads?.run()
        phase = .running
      }
    }
  }

  public func throttle(percent: Int) {
    threads?.throttle.store(min(99, max(0, percent)), ordering: .relaxed)
  }

  /// What the guest is throttled by, in percent.
  public var throttlePercent: Int { threads?.throttle.load(ordering: .relaxed) ?? 0 }

  public func saveState() throws(GuestError) -> [UInt8] {
    if let reason = failures.saveState { throw GuestError(reason) }
    return try phase.withLock { phase throws(GuestError) in
      guard phase != .running else { throw GuestError("a guest that runs has no state to save: pause it") }
      return WorkloadState(
        plan: plan, guestByteCount: image.guestByteCount, clock: BootIdentity.current, records: records
      ).encoded()
    }
  }

  /// Ends the threads, paused or not. The guest does not run again; its memory can still be verified.
  public func stop() {
    phase.withLock { phase in
      threads?.stop()
      phase = .stopped
    }
  }

  /// Compares memory with what the guest knows, on several threads. The guest does not run.
  /// - Parameter everything: all of memory; else the working set only.
  /// - Throws: if the guest runs.
  public func verify(everything: Bool) throws(GuestError) -> WorkloadVerification {
    try phase.withLock { phase throws(GuestError) in
      guard phase != .running else { throw GuestError("memory that is being written cannot be verified: pause") }
      return MemoryAudit(image, records: records).run(everything: everything)
    }
  }

  /// How the guest is getting on. Costs it nothing.
  public var statistics: WorkloadStatistics {
    let writes = writesByThread.reduce(0, &+)
    let gap = threads?.berths.map { $0.longestGap.load(ordering: .relaxed) }.max() ?? 0
    return WorkloadStatistics(
      writes: writes, pagesPerSecond: meter.rate(writes), longestGap: .nanoseconds(Int64(clamping: gap)))
  }

  /// Writes of each thread so far.
  var writesByThread: [UInt64] { threads?.berths.map { $0.writes.load(ordering: .relaxed) } ?? [] }

  private var threads: WriterCrew? { crew.withLock { $0 } }

  /// What the threads know. They do not run.
  private var records: [WriterRecord] { threads?.berths.map { $0.record } ?? initial }
}
