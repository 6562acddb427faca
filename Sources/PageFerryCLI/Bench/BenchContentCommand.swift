// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Bench
import PageFerry
import Workload

/// `pageferry bench content`.
struct BenchContentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "content", abstract: "Write a raw RAM image with known content.",
    discussion: """
      Runs of 64 KiB are zero, words (which compress about three to one under zstd:1) or random, as the mix says. \
      Zero runs are holes. The same size, mix and seed make the same bytes on every host.

        pageferry bench content test.raw --memory 1GiB --mix 25:50:25
        pageferry send test.raw 127.0.0.1:4410
      """)

  @Argument(help: "The image to write.")
  var file: String

  @Option(help: ArgumentHelp("Size of the image, a multiple of 4 KiB.", valueName: "size"))
  var memory = ByteAmount(bytes: 1 << 30)

  @Option(help: ArgumentHelp("Percent of memory that is zero, text-like and random.", valueName: "z:t:r"))
  var mix = "\(ContentMix.standard)"

  @Option(help: ArgumentHelp("Another seed, other content.", valueName: "n"))
  var seed: UInt64 = 1

  @Flag(help: "Take the place of a file that exists.")
  var replace = false

  func validate() throws {
    guard memory.bytes > 0, memory.bytes.isMultiple(of: 4096), memory.bytes <= BlockTable.totalByteCountMax else {
      throw ValidationError("--memory takes a multiple of 4 KiB, at most 64 TiB.")
    }
    do throws(WorkloadError) { _ = try ContentMix(parsing: mix) } catch { throw ValidationError(error.description) }
  }

  func run() throws {
    let cancelled = Cancellation()
    // Before the threads that write: they would take the signals.
    Outcome.onTermination { cancelled.cancel($0) }
    let content = try WorkloadContent(mix: try ContentMix(parsing: mix), seed: seed, byteCount: memory.bytes)
    let written: UInt64?
    do throws(GuestMemoryError) {
      let blocks: BlockTable
      do throws(BlockTableError) {
        blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: memory.bytes)])
      } catch { throw GuestMemoryError.badBlocks(error) }
      written = try ContentFile.make(
        path: file, blocks: blocks, content: content, replace: replace, isCancelled: { cancelled.isCancelled })
    } catch { throw Outcome.exit(MigrationFailure(output: error)) }
    guard let written else { throw Outcome.exit(MigrationFailure(.cancelled, cancelled.reason ?? "cancelled")) }
    print(
      "\(file): \(ByteCount.format(memory.bytes)), of which \(ByteCount.format(memory.bytes - written)) are holes "
        + "(\(mix), seed \(seed))")
  }
}
