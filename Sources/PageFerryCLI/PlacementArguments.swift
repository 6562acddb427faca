// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
import HostSystem
import Logging
public import PageFerry

/// Options that say where worker threads run.
struct CPUArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "CPUs that workers may use: 0-3,8. Default: all that this process may.", valueName: "list"),
    transform: CPUSet.init(parsing:))
  var cpus: CPUSet?

  @Option(
    help: ArgumentHelp(
      "Bind workers: none, to the CPUs of a NUMA node (node), to a CPU each (cpu); auto: node, if there are several.",
      valueName: "policy"))
  var pin = PlacementPolicy.automatic

  func validate() throws {
    do throws(CPUAllowanceError) { _ = try CPUAllowance(restrictedTo: cpus) } catch {
      throw ValidationError("--cpus: \(error).")
    }
  }

  var options: PlacementOptions { PlacementOptions(policy: pin, cpus: cpus) }
}

/// Options that say where worker threads run, and how they stand back behind others.
struct PlacementArguments: ParsableArguments {
  @OptionGroup var threads: CPUArguments

  // A value that begins with a dash is one, too.
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Nice value of workers, -20 to 19; below 0 takes a privilege.", valueName: "n"))
  var nice: Int?

  @Flag(help: "Schedule workers as SCHED_BATCH: they do not preempt guests when they wake up.")
  var batch = false

  func validate() throws {
    guard (-20...19).contains(nice ?? 0) else { throw ValidationError("--nice takes -20 to 19.") }
  }

  var options: PlacementOptions {
    PlacementOptions(policy: threads.pin, cpus: threads.cpus, niceness: nice, isBatch: batch)
  }

  /// Workers that have a CPU each, within what the process may use.
  var workerCount: Int { options.allowance.workerCount }

  /// Keeps the whole process to `--cpus`; before it starts any thread.
  func restrictProcess() {
    if threads.cpus != nil { _ = HostThread.restrict(to: options.allowance.cpus) }
  }

  /// The same options, for a process that is started from here.
  var words: [String] {
    (threads.cpus.map { ["--cpus", "\($0)"] } ?? []) + ["--pin", threads.pin.rawValue]
      + (nice.map { ["--nice=\($0)"] } ?? [])
      + (batch ? ["--batch"] : [])
  }
}

extension PlacementPolicy: ExpressibleByArgument {}

extension CommonOptions {
  /// What sessions are told, with warnings on the console.
  var placementOptions: PlacementOptions {
    var options = placement.options
    let logger = ConsoleLogHandler.logger(quiet: quiet)
    options.warn = { logger.warning("\($0)") }
    return options
  }
}
