// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import GuestMemory
import HostSystem
public import Lanes
import PageFerry
import Workload

/// What guest the demo runs.
struct GuestOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The guest's memory.", valueName: "size"))
  var memory = ByteAmount(bytes: 1 << 30)

  @Option(
    help: ArgumentHelp(
      "What the guest writes: \(WorkloadPattern.names.joined(separator: ", ")).", valueName: "pattern"))
  var pattern = "sparse"

  @Option(help: ArgumentHelp("Memory that the guest dirties in a second, in MB; 0: as fast as it can.", valueName: "n"))
  var rate = 200.0

  @Option(help: ArgumentHelp("Memory that it writes to.", valueName: "size"))
  var workingSet = ByteAmount(bytes: 128 << 20)

  @Option(help: ArgumentHelp("Threads that write.", valueName: "n"))
  var threads = 1

  @Option(help: ArgumentHelp("Percent of memory that is zero, text-like and random at first.", valueName: "z:t:r"))
  var mix = "\(ContentMix.standard)"

  @Option(help: ArgumentHelp("Whole pages that are written anew: percent of them that compress.", valueName: "n"))
  var compressibility = 60

  @Option(help: ArgumentHelp("Another seed, other content and another order of writes.", valueName: "n"))
  var seed: UInt64 = 1

  @Option(
    help: ArgumentHelp(
      "How writes are tracked: \(DirtyTracking.Kind.allCases.map { $0.rawValue }.joined(separator: ", ")).",
      valueName: "kind"))
  var tracking = DirtyTracking.Kind.automatic

  func plan() throws(WorkloadError) -> WorkloadPlan {
    let plan = WorkloadPlan(
      pattern: try WorkloadPattern(parsing: pattern), megabytesPerSecond: rate,
      workingSetByteCount: min(workingSet.bytes, memory.bytes), threadCount: threads, seed: seed,
      mix: try ContentMix(parsing: mix), compressibility: compressibility)
    try plan.check(guestByteCount: memory.bytes)
    return plan
  }

  func validate() throws {
    guard memory.bytes > 0, memory.bytes.isMultiple(of: 4096), memory.bytes <= BlockTable.totalByteCountMax else {
      throw ValidationError("--memory takes a multiple of 4 KiB, at most 64 TiB.")
    }
    guard workingSet.bytes > 0 else { throw ValidationError("--working-set takes more than nothing.") }
    do throws(WorkloadError) { _ = try plan() } catch { throw ValidationError(error.description) }
  }
}

extension DirtyTracking.Kind: ExpressibleByArgument {}

/// How the demo's guest is moved.
struct MoveOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Pretend a link of this speed, by pacing: 1Gbit, 100MiB.", valueName: "rate"))
  var link: Bandwidth?

  @OptionGroup var transfer: TransferOptions
  @OptionGroup var deltas: DeltaCacheOptions

  @Option(help: ArgumentHelp("Longest time that the guest may stand still, in ms.", valueName: "ms"))
  var downtimeLimit = 300

  @Option(help: ArgumentHelp("Give the switchover up after this time, and let the guest run on.", valueName: "seconds"))
  var switchoverLimit = 10

  @Flag(help: "Compare a digest of all memory while the guest is paused: a test, it adds to the downtime.")
  var verify = false

  func validate() throws {
    guard (1...3_600_000).contains(downtimeLimit) else {
      throw ValidationError("--downtime-limit takes 1 to 3600000 ms.")
    }
    guard (1...3600).contains(switchoverLimit) else { throw ValidationError("--switchover-limit takes 1 to 3600 s.") }
  }
}

extension CacheBudget.Size: ExpressibleByArgument {
  public init?(argument: String) { self.init(parsing: argument) }
  public var defaultValueDescription: String { description }
}
