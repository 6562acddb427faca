// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HostSystem
import PageFerry
import Workload

/// `pageferry demo`.
struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo", abstract: "Move a guest that runs, and prove that it arrived undamaged.",
    discussion: """
      Two processes on this host: in one, threads write guest memory in a chosen pattern, and the kernel tracks what \
      they write; the memory moves to the other while they go on writing, until what is left fits into the allowed \
      downtime. There they go on, and after a while every page is compared with what the writers know it must hold.

      No VM is needed, nor root where userfaultfd is open to all (see 'pageferry doctor'). On two hosts:

        there:  pageferry demo --listen 0.0.0.0:4410 --insecure
        here:   pageferry demo --to there:4410

      While it runs, it shows one screen on a terminal, and lines elsewhere; with --json, one object a second on \
      standard output, with the names and units of QEMU's query-migrate where it has them, and a last one with report \
      and proof.
      """)

  @OptionGroup(title: "The guest") var guest: GuestOptions
  @OptionGroup(title: "The migration") var move: MoveOptions
  @OptionGroup(title: "Convergence") var steering: SteeringOptions
  @OptionGroup(title: "A trace for 'pageferry plan'") var recording: RecordOptions
  @OptionGroup(title: "Watching it") var telemetry: TelemetryOptions
  @OptionGroup var control: ControlOptions

  @Option(help: ArgumentHelp("Let the guest run on for this long before it is proved undamaged.", valueName: "seconds"))
  var settle = 2.0

  @Option(
    help: ArgumentHelp("Send the guest to a demo that listens there.", valueName: "receiver"),
    transform: Endpoint.init(parsing:))
  var to: Endpoint?

  @Option(
    help: ArgumentHelp("Be the receiver: take one guest, run it, prove it.", valueName: "address"),
    transform: Endpoint.init(parsing:))
  var listen: Endpoint?

  @Flag(
    help: "With --listen or --http: beyond this host, although the connection is neither encrypted nor authenticated.")
  var insecure = false

  /// The process that started this one, which speaks lines of JSON with it.
  @Option(help: .hidden)
  var parent: Int32?

  @OptionGroup(title: "General") var common: CommonOptions

  func validate() throws {
    guard to == nil || listen == nil else { throw ValidationError("Give --to or --listen, not both.") }
    guard listen == nil || recording.record == nil else { throw ValidationError("--record is for the sender.") }
    guard listen == nil || !telemetry.isWanted else {
      throw ValidationError("--http and --metrics-file are for the side that sends.")
    }
    guard (0...86400).contains(settle) else { throw ValidationError("--settle takes 0 to 86400 s.") }
  }

  func run() throws {
    if let listen {
      return try DemoReceiver(
        endpoint: listen, insecure: insecure, settle: settle, parent: parent, options: common
      ).run()
    }
    try DemoSender(
      plan: try guest.plan(), guest: guest, move: move, steering: steering, recording: recording, settle: settle,
      receiver: to, control: control, options: common, telemetry: telemetry, insecure: insecure
    ).run()
  }
}
