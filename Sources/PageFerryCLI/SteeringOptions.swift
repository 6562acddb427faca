// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Migration

/// How a running guest's migration is steered: what it begins with; `pageferry ctl` changes it on the way.
struct SteeringOptions: ParsableArguments {
  @OptionGroup var policies: PolicyOptions

  @OptionGroup var limit: BandwidthOptions

  @Option(help: ArgumentHelp("The same while the guest stands still.", valueName: "rate"))
  var switchoverBandwidth: Bandwidth?

  @Flag(help: "Do not hand the guest over before 'pageferry ctl release'.")
  var hold = false

  @Option(help: ArgumentHelp("Append a line for each iteration, and advice, to this file.", valueName: "file"))
  var log: String?

  /// Sets what they say.
  func apply(to settings: inout MigrationSettings) {
    policies.apply(to: &settings)
    settings.switchoverBandwidth = switchoverBandwidth?.bytesPerSecond ?? 0
    if let bandwidth = limit.bandwidth { settings.bandwidthLimit = bandwidth.bytesPerSecond }
    settings.holds = hold
  }
}
