// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import Convergence
public import Migration

/// How a running guest's migration is steered: what it begins with; `pageferry ctl` changes it on the way.
struct SteeringOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What to do if the guest writes too much: none, or some of "
        + "\(ConvergencePolicy.names.map { $0.name }.joined(separator: ", ")), with commas.", valueName: "policy"))
  var policy = ConvergencePolicy()

  @Option(help: ArgumentHelp("auto-converge: the first throttle, percent.", valueName: "n"))
  var throttleInitial = 20

  @Option(help: ArgumentHelp("auto-converge: each further step, percent.", valueName: "n"))
  var throttleIncrement = 10

  @Option(help: ArgumentHelp("The most that policies throttle, percent.", valueName: "n"))
  var throttleMax = 99

  @Option(
    help: ArgumentHelp(
      "auto-converge: throttle when more than this percentage of what is sent is written.", valueName: "n"))
  var throttleTrigger = 50

  @Flag(help: "auto-converge: smaller steps near the aim.")
  var throttleTailslow = false

  @Option(help: ArgumentHelp("dirty-limit: what may be written, as percent of what is sent.", valueName: "n"))
  var dirtyLimit = 85

  @Option(
    help: ArgumentHelp(
      "Throttle the guest by this from the start, percent; policies do not throttle then.", valueName: "n"))
  var throttle: Int?

  @Option(help: ArgumentHelp("Hand the guest over after this time at the latest.", valueName: "seconds"))
  var deadline: Double?

  @Option(
    help: ArgumentHelp(
      "What happens then: pause (the guest stands still until the rest is sent) or cancel.", valueName: "action"))
  var deadlineAction = MigrationSettings.DeadlineAction.pause

  @Option(help: ArgumentHelp("Limit of all channels together, per second: 100MiB, 1Gbit.", valueName: "rate"))
  var bandwidth: Bandwidth?

  @Option(help: ArgumentHelp("The same while the guest stands still.", valueName: "rate"))
  var switchoverBandwidth: Bandwidth?

  @Flag(help: "Do not hand the guest over before 'pageferry ctl release'.")
  var hold = false

  @Option(help: ArgumentHelp("Append a line for each iteration, and advice, to this file.", valueName: "file"))
  var log: String?

  func validate() throws {
    for (name, value) in [
      ("--throttle-initial", throttleInitial), ("--throttle-increment", throttleIncrement),
      ("--throttle-max", throttleMax),
    ] where !(1...99).contains(value) { throw ValidationError("\(name) takes 1 to 99 percent.") }
    guard (1...100).contains(throttleTrigger) else {
      throw ValidationError("--throttle-trigger takes 1 to 100 percent.")
    }
    guard (1...100).contains(dirtyLimit) else { throw ValidationError("--dirty-limit takes 1 to 100 percent.") }
    guard (0...99).contains(throttle ?? 0) else { throw ValidationError("--throttle takes 0 to 99 percent.") }
    guard (0.1...31_536_000).contains(deadline ?? 1) else { throw ValidationError("--deadline takes 0.1 s to a year.") }
  }

  /// Sets what they say.
  func apply(to settings: inout MigrationSettings) {
    settings.policy = policy
    settings.autoConverge.initial = throttleInitial
    settings.autoConverge.increment = throttleIncrement
    settings.autoConverge.limit = throttleMax
    settings.autoConverge.trigger = throttleTrigger
    settings.autoConverge.tailslow = throttleTailslow
    settings.dirtyLimit.fraction = Double(dirtyLimit) / 100
    settings.dirtyLimit.limit = throttleMax
    settings.throttle = throttle
    settings.deadline = deadline
    settings.deadlineAction = deadlineAction
    settings.switchoverBandwidth = switchoverBandwidth?.bytesPerSecond ?? 0
    if let bandwidth { settings.bandwidthLimit = bandwidth.bytesPerSecond }
    settings.holds = hold
  }
}

extension ConvergencePolicy: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
  public var defaultValueDescription: String { description }
}

extension MigrationSettings.DeadlineAction: ExpressibleByArgument {}
