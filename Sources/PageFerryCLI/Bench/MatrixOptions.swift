// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Bench
import PageFerry
import Workload

/// The lists whose combinations are tried.
struct MatrixOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Codecs, as --codec of 'send' takes them.", valueName: "list"))
  var codecs = "auto,none,lz4,zstd:1,zstd-long:1"

  @Option(help: ArgumentHelp("Numbers of TCP connections, 1 to 64.", valueName: "list"))
  var channels = "1,2,4"

  @Option(help: ArgumentHelp("Numbers of worker threads; 0: as 'send' has it by default.", valueName: "list"))
  var workers = "0"

  @Option(
    help: ArgumentHelp(
      "Contents: percent of memory that is zero, text-like and random. Default: \(ContentMix.standard), or the image.",
      valueName: "list"))
  var mix: String?

  @Option(
    help: ArgumentHelp(
      "MB that the guest dirties in a second; 0: a paused guest. Of an image, only the paused one is tried.",
      valueName: "list"))
  var dirty = "0,100,400"

  /// Entries of a list.
  private static let countMax = 16

  func validate() throws {
    for codec in try Self.entries("--codecs", codecs) {
      do throws(CodecError) { _ = try CodecPolicy(parsing: codec) } catch { throw ValidationError(error.description) }
    }
    for mix in try mixes() {
      do throws(WorkloadError) { _ = try ContentMix(parsing: mix) } catch { throw ValidationError(error.description) }
    }
    _ = try numbers("--channels", channels, 1...64)
    _ = try numbers("--workers", workers, 0...256)
    _ = try numbers("--dirty", dirty, 0...100_000)
  }

  /// Checked by ``validate()`` before.
  func axes(hasImage: Bool) -> Axes {
    let made = (try? mixes()) ?? []
    return Axes(
      codecs: (try? Self.entries("--codecs", codecs)) ?? [],
      channels: (try? numbers("--channels", channels, 1...64)) ?? [],
      workers: (try? numbers("--workers", workers, 0...256)) ?? [],
      contents: hasImage ? ["image"] + made : made.isEmpty ? ["\(ContentMix.standard)"] : made,
      dirtyRates: ((try? numbers("--dirty", dirty, 0...100_000)) ?? []).map { Double($0) })
  }

  private func mixes() throws -> [String] { try mix.map { try Self.entries("--mix", $0) } ?? [] }

  private static func entries(_ option: String, _ list: String) throws -> [String] {
    let found = list.split(separator: ",", omittingEmptySubsequences: false)
      .map { String($0.filter { !$0.isWhitespace }) }
    guard !found.contains("") else { throw ValidationError("\(option) takes values with commas between.") }
    guard found.count <= countMax else { throw ValidationError("\(option) takes at most \(countMax) values.") }
    guard Set(found).count == found.count else { throw ValidationError("\(option) has a value twice.") }
    return found
  }

  private func numbers(_ option: String, _ list: String, _ range: ClosedRange<Int>) throws -> [Int] {
    try Self.entries(option, list).map { text in
      guard let number = Int(text), range.contains(number) else {
        throw ValidationError(
          "\(option): '\(text)' is not a whole number from \(range.lowerBound) to \(range.upperBound).")
      }
      return number
    }
  }
}
