// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import PageFerry

/// An amount of bytes: `64MiB`.
struct ByteAmount: ExpressibleByArgument {
  let bytes: UInt64

  init(bytes: UInt64) { self.bytes = bytes }

  /// For the default in `--help`.
  var defaultValueDescription: String { ByteCount.format(bytes).split(separator: " ").joined() }

  init?(argument: String) {
    guard let bytes = ByteCount.parse(argument) else { return nil }
    self.bytes = bytes
  }
}

/// Threads that decode for each channel, or `auto`.
struct DecoderChoice: ExpressibleByArgument {
  /// Nil: by the CPUs that are free.
  let count: Int?

  static let automatic = DecoderChoice(count: nil)

  private init(count: Int?) { self.count = count }

  var defaultValueDescription: String { count.map { "\($0)" } ?? "auto" }

  init?(argument: String) {
    if argument == "auto" {
      count = nil
      return
    }
    guard let count = Int(argument), (0...ReceivingPipeline.decoderCountMax).contains(count) else { return nil }
    self.count = count
  }
}

/// Bytes per second, typed as bytes (`100MiB`) or as a link's bits (`1Gbit`, `500Mbit`).
struct Bandwidth: ExpressibleByArgument {
  let bytesPerSecond: UInt64

  init?(argument: String) {
    guard let rate = ByteCount.parseRate(argument) else { return nil }
    bytesPerSecond = rate
  }
}

/// Options that sender and receiver share.
struct CommonOptions: ParsableArguments {
  @Flag(help: "Print the final report as JSON on standard output (fields: docs/OPERATIONS.md).")
  var json = false

  @Flag(name: .shortAndLong, help: "Print nothing but errors and the final report.")
  var quiet = false

  @Option(help: ArgumentHelp("Seconds of silence after which the peer counts as lost.", valueName: "seconds"))
  var deadPeer = 15

  @Option(help: ArgumentHelp("Socket buffers; the kernel tunes them by itself without this.", valueName: "size"))
  var socketBuffer: ByteAmount?

  @Option(
    help: ArgumentHelp("TCP congestion control (cubic, bbr …); the host's default without this.", valueName: "name"))
  var congestion: String?

  @OptionGroup(title: "Threads") var placement: PlacementArguments

  func validate() throws {
    guard (2...3600).contains(deadPeer) else { throw ValidationError("--dead-peer takes 2 to 3600 seconds.") }
    guard (socketBuffer?.bytes ?? 0) <= 1 << 30 else { throw ValidationError("--socket-buffer takes at most 1GiB.") }
  }

  var socketOptions: SocketOptions {
    SocketOptions(
      bufferByteCount: Int(socketBuffer?.bytes ?? 0), congestionControl: congestion, deadPeerSeconds: deadPeer)
  }
}

extension ZeroCopyOptions.Mode: ExpressibleByArgument {}

extension ProcessThrottle.Method: ExpressibleByArgument {}
