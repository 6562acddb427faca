// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageKernels

/// `list`, `count NAME`: the gated cases. `run`: all cases, in the cache. `memory`, `image`: what no cache holds. `scaling`:
/// what is kept of guests of all sizes. `receiving`: a destination's channel by itself.
@main
enum Benchmarks {
  /// `count` met a case that this processor, or valgrind, cannot run; `Benchmarks/check` knows the number.
  private static let exitNotCountable: CInt = 3
  private static let exitUsage: CInt = 64

  private static let usage = """
    usage: pageferry-benchmarks list           the gated cases
           pageferry-benchmarks count NAME     runs one gated case in pageferry_counted(), and prints how often
           pageferry-benchmarks run [FILTER] [--peer PATH.so]
                                               times of all cases, or of those whose name contains FILTER
    """

  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst()
    let rest = arguments.dropFirst()
    let usages = [usage, MemoryComparison.usage, ImageComparison.usage, ScalingRun.usage, ReceivingRun.usage].joined(
      separator: "\n")
    guard !arguments.contains("--help"), !arguments.contains("-h") else { return print(usages) }
    do {
      switch (arguments.first, rest.count) {
      case ("list", 0): for one in GatedCase.all() { print(one.name) }
      case ("count", 1): try count(name: rest.first ?? "")
      case ("run", _): try run(Options(rest, names: ["peer"]))
      case ("memory", _): try MemoryComparison(rest).run()
      case ("image", _): try ImageComparison(rest).run()
      case ("scaling", _): try ScalingRun(rest).run()
      case ("receiving", _): try ReceivingRun(rest).run()
      default: fail(usages, exitUsage)
      }
    } catch let error as UsageError {
      fail("pageferry-benchmarks: \(error.message)", exitUsage)
    } catch let error as PeerError {
      fail("pageferry-benchmarks: \(error.message)", 1)
    }
  }

  private static func count(name: String) throws {
    guard let one = GatedCase.all().first(where: { $0.name == name }) else {
      fail("no gated case is called '\(name)'; `list` has their names", exitUsage)
    }
    guard one.isCountable else {
      fail("\(name): best instruction set here is \(KernelTier.best), the case wants another", exitNotCountable)
    }
    Counting.run(try one.variant.make())
    print(Counting.operationCount)
  }

  private static func run(_ options: Options) throws {
    guard options.words.count <= 1 else { throw UsageError(message: "run takes one filter") }
    let filter = options.words.first ?? ""
    let peer = try options.text("peer").map { try Peer(path: $0) }
    let cases = Case.all(peer: peer).filter { filter.isEmpty || $0.name.contains(filter) }
    guard !cases.isEmpty else { throw UsageError(message: "no case has '\(filter)' in its name") }
    let tiers = KernelTier.available.map { "\($0)" }.joined(separator: ", ")
    print("Instruction sets: \(tiers). Times are medians of interleaved rounds; x: times as fast as the first line.\n")
    let table = Table(columns: [
      .text("case", 34), .text("variant", 11), .figure("ns/op", 11), .figure("GB/s", 9), .figure("x", 8),
    ])
    table.head()
    for one in cases {
      for (index, figure) in try Timing.measure(one).enumerated() {
        let rate = one.byteCount > 0 ? (Double(one.byteCount) / figure.nanoseconds).decimal(2) : "-"
        table.row([
          index == 0 ? one.name : "", figure.label, figure.nanoseconds.asNanoseconds, rate,
          index > 0 ? figure.speedUp.decimal(2) : "-",
        ])
      }
    }
  }

  private static func fail(_ message: String, _ code: CInt) -> Never {
    // SAFETY: the string outlives the call. `stderr` is a mutable global that Swift 6 will not name.
    _ = unsafe write(STDERR_FILENO, message + "\n", message.utf8.count + 1)
    exit(code)
  }
}
