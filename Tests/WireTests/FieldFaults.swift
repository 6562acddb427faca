// SPDX-License-Identifier: Apache-2.0
import Testing
import Wire

/// A body with one field wrong, and what must be said about it.
struct Fault: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let type: Int
  let body: [UInt8]
  let error: WireError
}

private func hello(_ name: String, _ error: WireError, _ change: (inout HelloFields) -> Void) -> Fault {
  var fields = HelloFields()
  change(&fields)
  return Fault(testDescription: name, type: 1, body: fields.body, error: error)
}

private let longText = Bytes.text([UInt8](repeating: 0x61, count: 1025))

let helloFaults: [Fault] = [
  hello("versions in the wrong order", .badValue(what: "the lowest protocol version", found: 2)) { $0.lowest = 2 },
  hello("only newer versions", .versionUnsupported(found: 3, supported: 1...1)) { ($0.lowest, $0.highest) = (2, 3) },
  hello("only older versions", .versionUnsupported(found: 0, supported: 1...1)) { ($0.lowest, $0.highest) = (0, 0) },
  hello("no channel", .badValue(what: "the number of data channels", found: 0)) { $0.channels = 0 },
  hello("too many channels", .tooLong(what: "data channels", found: 65, allowed: 64)) { $0.channels = 65 },
  hello("too many lanes", .tooLong(what: "lanes", found: 257, allowed: 256)) { $0.lanes = 257 },
  hello("fewer lanes than channels", .badValue(what: "the number of lanes", found: 1)) { $0.lanes = 1 },
  hello("another page size", .badValue(what: "the page size", found: 16384)) { $0.pageByteCount = 16384 },
  hello("an unknown feature", .unknownFlags(64)) { $0.features = 64 },
  hello("the last feature bit", .unknownFlags(1 << 31)) { $0.features = 1 << 31 },
  hello("too many codecs", .tooLong(what: "codecs", found: 257, allowed: 256)) { $0.codecCount = 257 },
  hello("more codecs than bytes", .truncated(what: "the 'hello' message")) { $0.codecCount = 256 },
  hello("less history than a frame", .badValue(what: "the history's size", found: 18)) { $0.historyLog = 18 },
  hello("too much history", .badValue(what: "the history's size", found: 30)) { $0.historyLog = 30 },
  hello("a long program name", .tooLong(what: "a text in the 'hello' message", found: 1025, allowed: 1024)) {
    $0.software = longText
  },
  hello("a program name that is not UTF-8", .badText(what: "a text in the 'hello' message")) {
    $0.software = Bytes.text([0x80])
  },
  hello("a text longer than the message", .truncated(what: "the 'hello' message")) {
    $0.name = Bytes.text([0x61], length: 255)
  },
  hello("too many blocks", .tooLong(what: "RAM blocks", found: 1025, allowed: 1024)) { $0.blockCount = 1025 },
  hello("more blocks than bytes", .truncated(what: "the 'hello' message")) { $0.blockCount = 1024 },
  hello("a long block name", .tooLong(what: "a text in the 'hello' message", found: 256, allowed: 255)) {
    $0.name = Bytes.text([UInt8](repeating: 0x61, count: 256))
  },
  hello("a block name that is not UTF-8", .badText(what: "a text in the 'hello' message")) {
    $0.name = Bytes.text([0xff, 0xfe])
  },
]

private func fault(_ name: String, _ type: Int, _ body: [UInt8], _ error: WireError) -> Fault {
  Fault(testDescription: name, type: type, body: body, error: error)
}

private func tooLongText(_ message: String) -> WireError {
  .tooLong(what: "a text in the '\(message)' message", found: 1025, allowed: 1024)
}

let otherFaults: [Fault] = [
  fault(
    "a long program name in accept", 2, Bytes.u16(1) + Bytes.u64(1) + Bytes.u64(2) + longText, tooLongText("accept")),
  fault("a long reason in reject", 3, Bytes.u16(1) + longText, tooLongText("reject")),
  fault("a long reason in cancel", 14, longText, tooLongText("cancel")),
  fault("a long reason in error", 15, Bytes.u16(1) + longText, tooLongText("error")),
  fault(
    "too many channels in ack", 9, Bytes.u32(1) + Bytes.u16(65) + [UInt8](repeating: 0, count: 65 * 8),
    .tooLong(what: "channels in an ack", found: 65, allowed: 64)),
  fault("more channels than bytes in ack", 9, Bytes.u32(1) + Bytes.u16(64), .truncated(what: "the 'ack' message")),
  fault(
    "too much guest state", 10, Bytes.u32(WireLimits.guestStateByteCountMax + 1) + [1, 2, 3],
    .tooLong(
      what: "a blob in the 'final' message", found: WireLimits.guestStateByteCountMax + 1,
      allowed: WireLimits.guestStateByteCountMax)),
  fault(
    "too many bytes in relay", 17, Bytes.u32(1) + Bytes.u32(WireLimits.relayByteCountMax + 1) + [1, 2, 3],
    .tooLong(
      what: "a blob in the 'relay' message", found: WireLimits.relayByteCountMax + 1,
      allowed: WireLimits.relayByteCountMax)),
  fault(
    "the longest length of guest state", 10, Bytes.u32(0xffff_ffff),
    .tooLong(
      what: "a blob in the 'final' message", found: 0xffff_ffff, allowed: WireLimits.guestStateByteCountMax)),
  fault("more guest state than bytes", 10, Bytes.u32(1000) + [1, 2, 3], .truncated(what: "the 'final' message")),
  fault(
    "too many digests", 10, Bytes.u32(0) + Bytes.u16(1025), .tooLong(what: "digests", found: 1025, allowed: 1024)),
  fault("more digests than bytes", 10, Bytes.u32(0) + Bytes.u16(1024), .truncated(what: "the 'final' message")),
]
