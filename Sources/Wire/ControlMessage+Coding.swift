// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// The header before every control message: 16 bytes, little-endian.
public struct ControlHeader: Equatable, Sendable {
  /// Bytes of a header.
  public static let byteCount = 16
  /// "PFC1" read as a little-endian number.
  static let magic: UInt32 = 0x3143_4650

  /// Number of the message's type.
  public let type: UInt16
  /// Bytes of the body that follows.
  public let bodyByteCount: Int
  /// Low half of the body's XXH3-64.
  public let bodyChecksum: UInt32

  /// Reads a header; nothing after it is trusted before this has passed.
  /// - Parameter bytes: exactly 16.
  public init(decoding bytes: [UInt8]) throws(WireError) {
    var reader = MessageReader(bytes, what: "a control header")
    guard try reader.get(UInt32.self) == Self.magic else { throw .foreignMagic(found: Array(bytes.prefix(8))) }
    type = try reader.get()
    let reserved = try reader.get(UInt16.self)
    guard reserved == 0 else { throw .unknownFlags(UInt32(reserved)) }
    let length = Int(try reader.get(UInt32.self))
    bodyChecksum = try reader.get()
    try reader.finish()
    guard length <= WireLimits.controlByteCountMax else {
      throw .tooLong(what: "a control message", found: length, allowed: WireLimits.controlByteCountMax)
    }
    bodyByteCount = length
  }

  static func bytes(type: UInt16, body: [UInt8]) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Self.magic)
    writer.put(type)
    writer.put(UInt16(0))
    writer.put(UInt32(body.count))
    writer.put(UInt32(truncatingIfNeeded: PageHash.checksum(body)))
    return writer.bytes
  }
}

extension ControlMessage {
  private enum Kind: UInt16 {
    case hello = 1
    case accept, reject, attach, attached, reserved, iterationBegin, iterationEnd, ack, final, ready, commit, resumed
    case cancel, error, heartbeat, relay, relayTaken, relayEnd
  }

  /// Header and body, ready to send.
  public func encoded() -> [UInt8] {
    var body = MessageWriter()
    let kind = encode(into: &body)
    return ControlHeader.bytes(type: kind.rawValue, body: body.bytes) + body.bytes
  }

  private func encode(into body: inout MessageWriter) -> Kind {
    switch self {
    case .hello(let hello):
      hello.encode(into: &body)
      return .hello
    case .accept(let accept):
      body.put(accept.version)
      body.put(accept.token)
      body.put(text: accept.software)
      return .accept
    case .reject(let refusal):
      body.put(refusal)
      return .reject
    case .attach(let attach):
      body.put(attach.version)
      body.put(attach.token)
      body.put(attach.channel)
      return .attach
    case .attached: return .attached
    case .reserved: return .reserved
    case .iterationBegin(let begin):
      body.put(begin.iteration)
      body.put(begin.pageCount)
      return .iterationBegin
    case .iterationEnd(let end):
      body.put(end.iteration)
      for count in [end.zeroPageCount, end.dataPageCount, end.deltaPageCount] { body.put(count) }
      return .iterationEnd
    case .ack(let ack):
      body.put(ack.completedIteration)
      body.put(UInt16(ack.appliedFrameCounts.count))
      for count in ack.appliedFrameCounts { body.put(count) }
      body.put(ack.receivedByteCount)
      return .ack
    case .final(let final):
      body.put(blob: final.guestState)
      body.put(UInt16(final.digests.count))
      for digest in final.digests {
        body.put(digest.low)
        body.put(digest.high)
      }
      return .final
    case .ready(let ready):
      body.put(ready.verifyNanoseconds)
      body.put(ready.loadNanoseconds)
      return .ready
    case .commit: return .commit
    case .resumed(let resumed):
      body.put(resumed.resumeNanoseconds)
      return .resumed
    case .cancel(let reason):
      body.put(text: reason)
      return .cancel
    case .error(let refusal):
      body.put(refusal)
      return .error
    case .heartbeat: return .heartbeat
    case .relay(let relay):
      body.put(relay.afterIteration)
      body.put(blob: relay.bytes)
      return .relay
    case .relayTaken(let byteCount):
      body.put(byteCount)
      return .relayTaken
    case .relayEnd(let afterIteration):
      body.put(afterIteration)
      return .relayEnd
    }
  }

  /// Reads the message that `header` announced.
  /// - Throws: ``WireError``; every length is checked before anything is allocated by it.
  public init(decoding body: [UInt8], header: ControlHeader) throws(WireError) {
    guard body.count == header.bodyByteCount else { throw .truncated(what: "a control message") }
    guard UInt32(truncatingIfNeeded: PageHash.checksum(body)) == header.bodyChecksum else {
      throw .bodyCorrupt
    }
    guard let kind = Kind(rawValue: header.type) else { throw .unknownMessageType(header.type) }
    var reader = MessageReader(body, what: "the '\(kind)' message")
    self = try Self.decode(kind, from: &reader)
    try reader.finish()
  }

  private static func decode(_ kind: Kind, from reader: inout MessageReader) throws(WireError) -> ControlMessage {
    switch kind {
    case .hello: return .hello(try Hello(from: &reader))
    case .accept:
      return .accept(
        Accept(version: try reader.get(), token: try reader.getIdentity(), software: try reader.getText()))
    case .reject: return .reject(try reader.getRefusal())
    case .attach:
      return .attach(Attach(version: try reader.get(), token: try reader.getIdentity(), channel: try reader.get()))
    case .attached: return .attached
    case .reserved: return .reserved
    case .iterationBegin:
      return .iterationBegin(IterationBegin(iteration: try reader.get(), pageCount: try reader.get()))
    case .iterationEnd:
      return .iterationEnd(
        IterationEnd(
          iteration: try reader.get(), zeroPageCount: try reader.get(), dataPageCount: try reader.get(),
          deltaPageCount: try reader.get()))
    case .ack:
      let iteration: UInt32 = try reader.get()
      let count = try reader.getCount(atMost: WireLimits.channelCountMax, "channels in an ack")
      var applied: [UInt64] = []
      for _ in 0..<count { applied.append(try reader.get()) }
      return .ack(
        Ack(completedIteration: iteration, appliedFrameCounts: applied, receivedByteCount: try reader.get()))
    case .final:
      let state = try reader.getBlob(limit: WireLimits.guestStateByteCountMax)
      let count = try reader.getCount(atMost: BlockTable.blockCountMax, "digests")
      var digests: [DigestWords] = []
      for _ in 0..<count { digests.append(DigestWords(low: try reader.get(), high: try reader.get())) }
      return .final(Final(guestState: state, digests: digests))
    case .ready: return .ready(Ready(verifyNanoseconds: try reader.get(), loadNanoseconds: try reader.get()))
    case .commit: return .commit
    case .resumed: return .resumed(Resumed(resumeNanoseconds: try reader.get()))
    case .cancel: return .cancel(reason: try reader.getText())
    case .error: return .error(try reader.getRefusal())
    case .heartbeat: return .heartbeat
    case .relay:
      return .relay(
        Relay(afterIteration: try reader.get(), bytes: try reader.getBlob(limit: WireLimits.relayByteCountMax)))
    case .relayTaken: return .relayTaken(byteCount: try reader.get())
    case .relayEnd: return .relayEnd(afterIteration: try reader.get())
    }
  }
}

extension ControlMessage.Hello {
  fileprivate func encode(into body: inout MessageWriter) {
    // The versions stay first in every version of the protocol, so that any two peers can tell that they differ.
    body.put(versions.lowerBound)
    body.put(versions.upperBound)
    body.put(session)
    body.put(UInt16(channelCount))
    body.put(UInt16(laneCount))
    body.put(pageByteCount)
    body.put(features.rawValue)
    body.put(UInt16(codecs.count))
    for codec in codecs { body.put(codec) }
    body.put(historyLog)
    body.put(text: software)
    body.put(UInt16(blocks.count))
    for block in blocks {
      body.put(block.guestPhysicalBase)
      body.put(block.byteCount)
      body.put(block.hostPageByteCount)
      body.put(text: block.name, limit: BlockTable.nameByteCountMax)
    }
  }

  fileprivate init(from reader: inout MessageReader) throws(WireError) {
    let lowest: UInt16 = try reader.get()
    let highest: UInt16 = try reader.get()
    guard lowest <= highest else { throw .badValue(what: "the lowest protocol version", found: UInt64(lowest)) }
    guard (lowest...highest).overlaps(WireLimits.versions) else {
      throw .versionUnsupported(found: highest, supported: WireLimits.versions)
    }
    versions = lowest...highest
    session = try reader.getIdentity()
    channelCount = try reader.getCount(atMost: WireLimits.channelCountMax, "data channels")
    laneCount = try reader.getCount(atMost: WireLimits.laneCountMax, "lanes")
    guard channelCount > 0 else { throw .badValue(what: "the number of data channels", found: 0) }
    guard laneCount >= channelCount else { throw .badValue(what: "the number of lanes", found: UInt64(laneCount)) }
    pageByteCount = try reader.get()
    guard pageByteCount == PageGeometry.pageByteCount else {
      throw .badValue(what: "the page size", found: UInt64(pageByteCount))
    }
    features = SessionFeatures(rawValue: try reader.get())
    guard features.isSubset(of: .known) else { throw .unknownFlags(features.rawValue) }
    let codecCount = try reader.getCount(atMost: 256, "codecs")
    codecs = try reader.getBytes(codecCount)
    historyLog = try reader.get()
    guard historyLog == 0 || WireLimits.historyLogs.contains(historyLog) else {
      throw .badValue(what: "the history's size", found: UInt64(historyLog))
    }
    software = try reader.getText()
    let blockCount = try reader.getCount(atMost: BlockTable.blockCountMax, "RAM blocks")
    var list: [RAMBlock] = []
    for _ in 0..<blockCount {
      let base: UInt64 = try reader.get()
      let byteCount: UInt64 = try reader.get()
      let hostPage: UInt32 = try reader.get()
      let name = try reader.getText(limit: BlockTable.nameByteCountMax)
      list.append(
        RAMBlock(name: name, guestPhysicalBase: base, byteCount: byteCount, hostPageByteCount: hostPage))
    }
    blocks = list
  }
}

extension MessageWriter {
  fileprivate mutating func put(_ identity: SessionIdentity) {
    put(identity.high)
    put(identity.low)
  }

  fileprivate mutating func put(_ refusal: ControlMessage.Refusal) {
    put(refusal.code)
    put(text: refusal.reason)
  }
}

extension MessageReader {
  fileprivate mutating func getIdentity() throws(WireError) -> SessionIdentity {
    SessionIdentity(high: try get(), low: try get())
  }

  fileprivate mutating func getRefusal() throws(WireError) -> ControlMessage.Refusal {
    ControlMessage.Refusal(code: try get(), reason: try getText())
  }

  /// A count (u16) that sizes what follows.
  fileprivate mutating func getCount(atMost allowed: Int, _ what: String) throws(WireError) -> Int {
    let count = Int(try get(UInt16.self))
    guard count <= allowed else { throw .tooLong(what: what, found: count, allowed: allowed) }
    return count
  }
}
