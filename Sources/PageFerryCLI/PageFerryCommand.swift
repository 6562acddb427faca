// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import PageFerry

/// The command `pageferry`.
@main
struct PageFerryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pageferry",
    abstract: "Move the memory of a virtual machine to another host.",
    discussion: """
      Try it on one machine, in two terminals:

        pageferry receive copy.raw --listen 127.0.0.1:4410
        pageferry send guest.raw 127.0.0.1:4410

      guest.raw is a raw RAM image: what QEMU's pmemsave or a memory-backend-file gives. \
      The receiver writes copy.raw.pageferry-partial, and renames it to copy.raw only when a digest of every block \
      agrees.

      'pageferry doctor' tells what this host can do, and what is missing; 'pageferry exit-codes' what each exit \
      code means. docs/OPERATIONS.md has the rest.
      """,
    version: PageFerry.version,
    subcommands: [
      DemoCommand.self, SendCommand.self, ReceiveCommand.self, PlanCommand.self, InspectCommand.self, ProxyCommand.self,
      ControlCommandLine.self, BenchCommand.self, ThrottleCommand.self, DoctorCommand.self, ExitCodesCommand.self,
      ThrottleGuardianCommand.self,
    ])
}

/// The table of exit codes, from the same list that the engine uses.
struct ExitCodesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exit-codes", abstract: "Print what each exit code means.")

  func run() {
    print("  0  completed")
    print("  3  plan: the migration would not converge")
    print("  4  plan: the trace cannot be used, or the process not be watched")
    print("  5  inspect: the stream is malformed, or its RAM cannot be rebuilt")
    print("  6  inspect: the stream ends too early")
    for code in FailureCode.allCases where code != .cancelled {
      print("\(code.rawValue < 10 ? "  " : " ")\(code.rawValue)  \(code.meaning)")
    }
    for code in ControlExit.allCases { print(" \(code.rawValue)  \(code.meaning)") }
    print(" 64  wrong options: see --help")
    print("130  cancelled by SIGINT (Ctrl-C)")
    print("143  cancelled by SIGTERM")
  }
}
