// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageKernels

/// `list`, `run [filter]`, `count NAME`.
@main
enum Benchmarks {
  /// `count` met a case that this processor, or valgrind, cannot run; `Benchmarks/check` knows the number.
  private static let exitNotCountable: CInt = 3
  private static let exitUsage: CInt = 64

  private static let usage = """
    usage: pageferry-benchmarks list           the gated cases
           pageferry-benchmarks run [FILTER]   times of all cases, or of those whose name contains FILTER
           pageferry-benchmarks count NAME     runs one gated case in pageferry_counted(), and prints how often
    """

  static func main() throws {
    let arguments = Array(CommandLine.arguments.dropFirst())
    switch (arguments.first, arguments.count) {
    case ("list", 1): for one in GatedCase.all() { print(one.name) }
    case ("run", 1): try run(filter: "")
    case ("run", 2): try run(filter: arguments[1])
    case ("count", 2): try count(name: arguments[1])
    default: fail(usage, exitUsage)
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

  private static func run(filter: String) throws {
    let cases = Case.all().filter { filter.isEmpty || $0.name.contains(filter) }
    guard !cases.isEmpty else { fail("no case has '\(filter)' in its name", exitUsage) }
    let tiers = KernelTier.available.map { "\($0)" }.joined(separator: ", ")
    print("Instruction sets: \(tiers). Times are medians of interleaved rounds; x: times as fast as the first line.\n")
    print(row("case", "variant", "ns/op", "GB/s", "x"))
    for one in cases {
      for (index, figure) in try Timing.measure(one).enumerated() {
        let rate = one.byteCount > 0 ? decimal(Double(one.byteCount) / figure.nanoseconds, places: 2) : "-"
        let speedUp = index > 0 ? decimal(figure.speedUp, places: 2) : "-"
        let nanoseconds = decimal(figure.nanoseconds, places: figure.nanoseconds < 100 ? 1 : 0)
        print(row(index == 0 ? one.name : "", figure.label, nanoseconds, rate, speedUp))
      }
    }
  }

  private static func row(
    _ name: String, _ variant: String, _ time: String, _ rate: String, _ ratio: String
  ) -> String {
    pad(name, 34) + pad(variant, 11) + leftPad(time, 11) + leftPad(rate, 9) + leftPad(ratio, 8)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private static func leftPad(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - text.count)) + text
  }

  /// `value` with so many decimals; Foundation would be a large dependency for this alone.
  private static func decimal(_ value: Double, places: Int) -> String {
    guard places > 0 else { return "\(Int(value.rounded()))" }
    let scale = places == 1 ? 10 : 100
    let scaled = Int((value * Double(scale)).rounded())
    let fraction = "\(scaled % scale)"
    return "\(scaled / scale)." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  private static func fail(_ message: String, _ code: CInt) -> Never {
    // SAFETY: the string outlives the call. `stderr` is a mutable global that Swift 6 will not name.
    _ = unsafe write(STDERR_FILENO, message + "\n", message.utf8.count + 1)
    exit(code)
  }
}
