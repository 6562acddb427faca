// SPDX-License-Identifier: Apache-2.0

/// What the server received of a link test.
public struct LinkReceipt: Sendable, Equatable, Codable {
  /// Bytes of all streams, after the first quarter of the time: congestion windows have grown by then.
  public var bytes: UInt64
  /// How long they took to come.
  public var seconds: Double
}

/// How fast plain TCP is, from client to server.
public struct LinkFigures: Sendable, Equatable, Codable {
  public var streams: Int
  public var bytesPerSecond: Double
  /// Segments that were sent, and of these, again.
  public var segments: Int
  public var retransmitted: Int
  /// Seconds; of the slowest stream, while the link was full.
  public var roundTripLoaded: Double
  /// CPU seconds of either process per wall-clock second.
  public var sourceCPU: Double

  public var gigabitsPerSecond: Double { bytesPerSecond * 8 / 1e9 }
}
