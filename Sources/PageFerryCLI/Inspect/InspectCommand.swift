// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import GuestMemory
import HostSystem
import Migration
import PageFerry
import QEMUBridge
import SystemPackage

/// `pageferry inspect`.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Tell what a captured migration stream of QEMU holds, and rebuild its RAM.",
    discussion: """
      A stream is what QEMU writes: (qemu) migrate "exec:cat > guest.stream", or a relay's record of a socket.

        pageferry inspect guest.stream
        pageferry inspect guest.stream --image guest       writes guest.pc.ram.raw, and a file for each other block
        pageferry inspect main.stream --multifd ch0 ch1 --verify

      Nothing is kept in memory but a bit for each page; with --image and --verify, RAM is. docs/QEMU.md explains what is \
      printed.

      Exit codes: 0 the stream is whole, 5 it is malformed, 6 it ends too early.
      """)

  /// Exit codes beyond those of a migration.
  static let malformed = ExitCode(5)
  static let truncated = ExitCode(6)

  @Argument(help: "The captured stream of the main channel, or - for standard input.")
  var file: String

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp("What was captured of the multifd channels, in any order.", valueName: "channel-file"))
  var multifd: [String] = []

  @Option(help: ArgumentHelp("Write each RAM block to <prefix>.<block>.raw.", valueName: "prefix"))
  var image: String?

  @Flag(help: "Decode every page, as --image does, and write nothing.")
  var verify = false

  @Option(
    help: ArgumentHelp(
      "Most memory for RAM with --image and --verify; what is available without this.", valueName: "size"))
  var memory: ByteAmount?

  @Option(help: ArgumentHelp("Write the stream anew, its pages as new records.", valueName: "file"))
  var roundtrip: String?

  @Flag(help: "Take the place of files that exist.")
  var replace = false

  @Option(help: ArgumentHelp("Print the first elements one by one.", valueName: "count"))
  var records = 0

  @Flag(help: "Print the summary as JSON on standard output.")
  var json = false

  func validate() throws {
    guard records >= 0 else { throw ValidationError("--records takes a number of elements.") }
    guard !json || records == 0 else { throw ValidationError("--records and --json cannot be together.") }
  }

  func run() throws {
    // A broken pipe is an error of the write, and partial files go with a signal.
    let stopped = Cancellation()
    Outcome.onTermination { stopped.cancel($0) }
    var options = StreamInspector.Options()
    options.toldElementCount = records
    options.tell = { print($0) }
    if image != nil || verify { options.ramLimit = memory?.bytes ?? HostMemory.availableByteCount ?? 1 << 30 }
    let copy = try output { () throws(GuestMemoryError) in
      try roundtrip.map { (path) throws(GuestMemoryError) in try StreamFile(path: path, replacing: replace) }
    }
    options.sink = copy?.sink
    let inspector = StreamInspector(options)
    let files = try [file == "-" ? FileDescriptor.standardInput : open(file)] + multifd.map(open)
    var failure: InspectionError?
    do throws(InspectionError) {
      try inspector.run(
        StoppableSource(files[0], stopped), channels: files.dropFirst().map { StoppableSource($0, stopped) })
    } catch { failure = error }
    if let reason = stopped.reason { throw Outcome.exit(MigrationFailure(.cancelled, reason)) }
    // What was found before an error helps to understand it.
    if inspector.summary.byteCount > 0 {
      print(try json ? ReportTable.line(inspector.summary) : InspectReport(inspector.summary).text)
    }
    if let failure { throw Self.exit(failure, file: file) }
    try output { () throws(GuestMemoryError) in
      if let image, let memory = inspector.image { try RAMImageFiles.write(memory, prefix: image, replacing: replace) }
      try copy?.complete(replacing: replace)
    }
  }

  private func open(_ path: String) throws -> FileDescriptor {
    do { return try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec]) } catch {
      throw Outcome.exit(MigrationFailure(.inputMissing, "cannot open '\(path)': \(error)"))
    }
  }

  private func output<Value>(_ body: () throws(GuestMemoryError) -> Value) throws -> Value {
    do throws(GuestMemoryError) { return try body() } catch { throw Outcome.exit(MigrationFailure(output: error)) }
  }

  private static func exit(_ failure: InspectionError, file: String) -> ExitCode {
    let reason = "\(file == "-" ? "standard input" : file): \(failure)"
    switch failure {
    case .stream(let error), .channel(_, let error):
      if case .unreadable = error { return Outcome.exit(MigrationFailure(.inputUnreadable, reason)) }
      Console.shared.print("pageferry: failed: \(reason)")
      if case .truncated = error { return truncated }
      return malformed
    case .page(let error), .channelPage(_, let error):
      switch error {
      case .cannotMap, .overLimit: return Outcome.exit(MigrationFailure(.memoryUnavailable, reason))
      default:
        Console.shared.print("pageferry: failed: \(reason)")
        return malformed
      }
    case .opaqueChannel:
      Console.shared.print("pageferry: failed: \(reason)")
      return malformed
    case .output(.failed(.noSpace)): return Outcome.exit(MigrationFailure(.diskFull, reason))
    case .output: return Outcome.exit(MigrationFailure(.outputFailed, reason))
    }
  }
}

/// A file or a pipe that ends when the command is to end, so that it leaves nothing behind.
private struct StoppableSource: ByteSource {
  private let file: FileDescriptor
  private var source: DescriptorSource
  private let stopped: Cancellation
  /// Milliseconds between looks at whether it is to end, while nothing comes.
  private static let patience: CInt = 200

  init(_ file: FileDescriptor, _ stopped: Cancellation) {
    self.file = file
    source = DescriptorSource(file)
    self.stopped = stopped
  }

  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    var watched = pollfd(fd: file.rawValue, events: Int16(POLLIN), revents: 0)
    repeat { if stopped.isCancelled { throw .canceled } } while unsafe poll(&watched, 1, Self.patience) == 0
    return unsafe try source.read(into: room)
  }
}
