// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Convergence
import PageFerry

/// Which page a guest writes next.
enum PlanOrder: String, ExpressibleByArgument, CaseIterable {
  case random, sequential
}

/// What is known of the guest.
struct PlanGuestOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The guest's memory. Not with --trace.", valueName: "size"))
  var memory: ByteAmount?

  @Option(
    help: ArgumentHelp(
      "Memory that it writes to in a second, each write of a page counted: 400MB. The rate that QEMU's calc-dirty-rate "
        + "tells will do.", valueName: "size"))
  var dirtyRate: Bandwidth?

  @Option(help: ArgumentHelp("Memory that it writes to at all. Default: all.", valueName: "size"))
  var workingSet: ByteAmount?

  @Option(help: ArgumentHelp("The order of its writes: random or sequential.", valueName: "order"))
  var order = PlanOrder.random

  @Option(help: ArgumentHelp("Percent of its memory that is zero.", valueName: "n"))
  var zero: Double?

  @Option(help: ArgumentHelp("A recorded trace, instead of the figures above.", valueName: "file"))
  var trace: String?

  @Option(help: ArgumentHelp("A process on this host to watch, instead of the figures above.", valueName: "number"))
  var pid: Int32?

  @Option(name: .customLong("for"), help: ArgumentHelp("How long to watch it.", valueName: "seconds"))
  var seconds = 10.0

  @Option(help: ArgumentHelp("With --pid: keep what was seen, for --trace.", valueName: "file"))
  var record: String?

  func validate() throws {
    let sources = [trace != nil, pid != nil, dirtyRate != nil].filter { $0 }.count
    guard sources == 1 else { throw ValidationError("Give one of --dirty-rate, --trace and --pid.") }
    guard dirtyRate == nil || memory != nil else { throw ValidationError("--dirty-rate takes --memory with it.") }
    guard trace == nil || (memory == nil && workingSet == nil && zero == nil) else {
      throw ValidationError("A trace has memory, working set and zero pages in it.")
    }
    guard pid == nil || workingSet == nil else { throw ValidationError("--pid measures the working set.") }
    guard record == nil || pid != nil else { throw ValidationError("--record takes --pid with it.") }
    if let memory {
      guard memory.bytes >= 4096, memory.bytes <= BlockTable.totalByteCountMax else {
        throw ValidationError("--memory takes 4 KiB to 64 TiB.")
      }
      guard (workingSet?.bytes ?? 0) <= memory.bytes else { throw ValidationError("--working-set exceeds --memory.") }
    }
    guard (0...100).contains(zero ?? 0) else { throw ValidationError("--zero takes 0 to 100 percent.") }
    guard (0.2...3600).contains(seconds) else { throw ValidationError("--for takes 0.2 to 3600 s.") }
  }
}

/// The way, and what is allowed.
struct PlanWayOptions: ParsableArguments {
  @Option(help: ArgumentHelp("What the link carries: 1Gbit, 100MiB.", valueName: "rate"))
  var link: Bandwidth

  @Option(help: ArgumentHelp("Round trip to the destination, in ms.", valueName: "ms"))
  var rtt = 0.2

  @Option(help: ArgumentHelp("Longest time that the guest may stand still, in ms.", valueName: "ms"))
  var downtimeLimit = 300

  @OptionGroup var encoding: CodecOptions

  @Option(
    help: ArgumentHelp("How many times smaller pages get. Default: as sampled, or assumed by codec.", valueName: "n"))
  var ratio: Double?

  @Option(
    help: ArgumentHelp(
      "The same for pages that are sent again; with deltas 20 and more. Default: as sampled, or --ratio.",
      valueName: "n"))
  var hotRatio: Double?

  @Option(help: ArgumentHelp("Delta cache: auto or off. Only a trace tells what it gains.", valueName: "size"))
  var deltaCache = CacheBudget.Size.automatic

  @Option(help: ArgumentHelp("Worker threads on either side.", valueName: "n"))
  var workers = 2

  func validate() throws {
    guard (0...60_000).contains(rtt) else { throw ValidationError("--rtt takes 0 to 60000 ms.") }
    guard (1...3_600_000).contains(downtimeLimit) else {
      throw ValidationError("--downtime-limit takes 1 to 3600000 ms.")
    }
    for ratio in [ratio, hotRatio].compactMap({ $0 }) where !(0.5...10_000).contains(ratio) {
      throw ValidationError("A ratio is 0.5 to 10000.")
    }
    guard (1...256).contains(workers) else { throw ValidationError("--workers takes 1 to 256.") }
  }
}
