// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageFerry

/// `receiving`: a destination's channel by itself. Frames are made beforehand, and come from memory through a socket,
/// so that the source's work is not in the way.
struct ReceivingRun {
  static let usage = """
    usage: pageferry-benchmarks receiving IMAGE [OPTION VALUE]...
             --codecs A,B,C     (lz4:1,zstd:1,deflate:1)
             --decoders A,B,C   threads that decode beside the channel's own (0,1)
             --rounds N         measured rounds, after one that is thrown away (5)
    """

  private let path: String
  private let codecs: [CodecPolicy]
  private let decoderCounts: [Int]
  private let roundCount: Int

  init(_ arguments: some Sequence<String>) throws(UsageError) {
    let options = try Options(arguments, names: ["codecs", "decoders", "rounds"])
    guard options.words.count == 1 else { throw UsageError(message: "receiving takes one image") }
    path = options.words[0]
    var codecs: [CodecPolicy] = []
    for name in options.list("codecs", default: ["lz4:1", "zstd:1", "deflate:1"]) {
      do throws(CodecError) { codecs.append(try CodecPolicy(parsing: name)) } catch {
        throw UsageError(message: "--codecs: \(error)")
      }
    }
    self.codecs = codecs
    decoderCounts = try options.numbers("decoders", default: [0, 1], in: 0...ReceivingPipeline.decoderCountMax)
    roundCount = try options.number("rounds", default: 5, in: 1...1000)
  }

  func run() throws {
    do {
      let source = try ImageSource(path: path)
      let cpuCount = HostThread.allowedCPUs().count
      print("One channel into fresh memory, \(cpuCount) CPUs, medians of \(roundCount) rounds in turns.\n")
      let table = Table(columns: [
        .text("codec", 12), .figure("decoders", 9), .figure("s", 8), .figure("least", 8), .figure("most", 8),
        .figure("data GB/s", 11), .figure("by decoders", 13), .figure("CPU s", 8), .figure("x", 7),
      ])
      table.head()
      for codec in codecs { try measure(codec, source, table) }
    } catch let error as GuestMemoryError {
      throw UsageError(message: "\(error)")
    }
  }

  private func measure(_ codec: CodecPolicy, _ source: ImageSource, _ table: Table) throws {
    let stream = try RecordedStream(source, codec)
    var samples: [[RecordedStream.Sample]] = Array(repeating: [], count: decoderCounts.count)
    for round in 0...roundCount {
      for (index, decoders) in decoderCounts.enumerated() {
        let sample = try stream.replay(decoders: decoders)
        if round > 0 { samples[index].append(sample) }
      }
    }
    for (index, decoders) in decoderCounts.enumerated() {
      let seconds = samples[index].map(\.seconds)
      let median = Timing.median(seconds)
      let handed = Timing.median(samples[index].map { Double($0.handedFrames) / Double(max(1, $0.frames)) })
      table.row([
        index == 0 ? "\(codec)" : "", "\(decoders)", median.decimal(3), (seconds.min() ?? 0).decimal(3),
        (seconds.max() ?? 0).decimal(3), (Double(stream.dataByteCount) / median / 1e9).decimal(2),
        "\((handed * 100).decimal(0)) %", Timing.median(samples[index].map(\.cpuSeconds)).decimal(3),
        Timing.median(zip(samples[0], samples[index]).map { $0.seconds / $1.seconds }).decimal(2),
      ])
    }
  }
}
