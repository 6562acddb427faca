// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import Convergence
public import Migration

/// What is done about a guest that writes too much: the same for a migration and for its forecast.
struct PolicyOptions: ParsableArguments {
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
  }

  /// The same in a forecast.
  var forecast: ForecastSteering {
    var settings = MigrationSettings()
    apply(to: &settings)
    return ForecastSteering(
      policy: settings.policy, autoConverge: settings.autoConverge, dirtyLimit: settings.dirtyLimit,
      throttlePercent: settings.throttle, deadlineSeconds: settings.deadline,
      cancelsAtDeadline: settings.deadlineAction == .cancel)
  }
}

extension ForecastSteering {
  /// What to type for it.
  var options: [String] {
    var options: [String] = []
    if !policy.isEmpty { options.append("--policy \(policy)") }
    let usual = AutoConverge.Parameters()
    if policy.contains(.autoConverge), !policy.contains(.dirtyLimit) {
      if autoConverge.initial != usual.initial { options.append("--throttle-initial \(autoConverge.initial)") }
      if autoConverge.increment != usual.increment { options.append("--throttle-increment \(autoConverge.increment)") }
      if autoConverge.trigger != usual.trigger { options.append("--throttle-trigger \(autoConverge.trigger)") }
      if autoConverge.tailslow { options.append("--throttle-tailslow") }
    }
    if policy.contains(.dirtyLimit), dirtyLimit.fraction != DirtyLimit.Parameters().fraction {
      options.append("--dirty-limit \(Int((dirtyLimit.fraction * 100).rounded()))")
    }
    if policy.throttles, autoConverge.limit != usual.limit { options.append("--throttle-max \(autoConverge.limit)") }
    if let throttlePercent { options.append("--throttle \(throttlePercent)") }
    if let deadlineSeconds {
      let seconds = deadlineSeconds.rounded() == deadlineSeconds ? "\(Int(deadlineSeconds))" : "\(deadlineSeconds)"
      options.append("--deadline \(seconds)")
      if cancelsAtDeadline { options.append("--deadline-action cancel") }
    }
    return options
  }
}

extension ConvergencePolicy: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
  public var defaultValueDescription: String { description }
}

extension MigrationSettings.DeadlineAction: ExpressibleByArgument {}
