// SPDX-License-Identifier: Apache-2.0
import QEMUBridge
import SystemPackage

/// Feeds any bytes to the parsers of QEMU's stream and checks what they accept. Shared by the corpus tests and the fuzzers.
///
/// A driver returns nil if all is well, and otherwise a sentence that says what was wrong.
enum StreamDrivers {
  /// As the main channel.
  static func stream(_ input: [UInt8]) -> String? {
    let whole = read(MemorySource(input))
    let parts = read(MemorySource(input, byteCountMax: 1 + Int(input.first ?? 0) % 9))
    guard whole.bytes[...] == input.prefix(whole.bytes.count) else { return "elements are not the stream" }
    guard whole.error != nil || whole.bytes.count == input.count else { return "bytes are lost at the end" }
    // What is opaque or packaged comes in parts as it is read.
    guard whole.bytes == parts.bytes, whole.error == parts.error, whole.records == parts.records else {
      return "elements depend on how the bytes come"
    }
    if whole.error?.description.isEmpty == true { return "an error without a description" }
    return inspected(input, whole.error)
  }

  /// As a multifd channel.
  static func multifd(_ input: [UInt8]) -> String? {
    var bytes: [UInt8] = []
    do throws(StreamError) {
      var reader = try MultifdReader(MemorySource(input))
      while let element = try reader.next() {
        unsafe bytes += Array(reader.elementBytes)
        guard case .packet(let packet) = element.kind else { continue }
        guard packet.pageCount + packet.zeroPageCount <= reader.pageCountMax,
          packet.payload.count == packet.pageCount * 4096
        else { return "a packet with more pages than it has room for" }
      }
      return bytes == input ? nil : "elements are not the channel"
    } catch {
      guard !error.description.isEmpty else { return "an error without a description" }
      return bytes[...] == input.prefix(bytes.count) ? nil : "elements are not the channel"
    }
  }

  private struct Outcome {
    var bytes: [UInt8] = []
    var records: [PageRecord] = []
    var error: StreamError?
  }

  private static func read(_ source: any ByteSource) -> Outcome {
    var outcome = Outcome()
    do throws(StreamError) {
      var reader = try StreamReader(source)
      while let element = try reader.next() {
        unsafe outcome.bytes += Array(reader.elementBytes)
        if case .page(let record) = element.kind { outcome.records.append(record) }
      }
    } catch { outcome.error = error }
    return outcome
  }

  /// Small guests also get their RAM, and the stream is written anew.
  private static func inspected(_ input: [UInt8], _ error: StreamError?) -> String? {
    var options = StreamInspector.Options()
    options.ramLimit = 1 << 20
    options.toldElementCount = 8
    let inspector = StreamInspector(options)
    do throws(InspectionError) {
      try inspector.run(MemorySource(input))
      if error != nil { return "an error is not told" }
    } catch {
      if error.description.isEmpty { return "an error without a description" }
    }
    let summary = inspector.summary
    guard summary.bytes.values.reduce(0, +) == summary.byteCount, summary.byteCount <= input.count else {
      return "bytes are counted wrongly"
    }
    return (inspector.image?.writtenByteCount ?? 0) <= 1 << 20 ? nil : "RAM takes more than the limit"
  }
}
