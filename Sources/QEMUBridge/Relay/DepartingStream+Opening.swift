// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import PageModel
import Synchronization
import SystemPackage
import Transport
import Wire

// What comes before the first page.
extension DepartingStream {
  /// The stream's beginning, up to the end of the section that declares RAM.
  struct Opening {
    var bytes: [UInt8]
    /// Nil: the stream cannot be taken apart, and is passed on as it is.
    var blocks: [StreamBlock]?
    /// Whether it has a barrier of multifd channels of its own.
    var hasFlush = false
    var advisesPostcopy = false
  }

  /// Reads nothing: all is passed on as it is.
  func openVerbatim(_ connection: Connection) -> Opening {
    isVerbatim = true
    raw = connection
    return Opening(bytes: [], blocks: nil)
  }

  /// A channel of pages beside the stream; its beginning goes on as it is.
  func open(_ channel: DepartingChannel, head: [UInt8]) -> Opening {
    self.channel = channel
    return Opening(bytes: head, blocks: nil)
  }

  /// The stream has such channels; says so before ``run(into:)``.
  func accompany(_ gate: MultifdGate, _ opening: inout Opening) {
    let barriers = StreamBarriers(
      gate, flushes: opening.hasFlush, section: reader?.ramSection ?? 0)
    opening.bytes += barriers.prelude
    self.barriers = barriers
  }

  /// From its first page on the stream is passed on as it is.
  func passOver(_ opening: inout Opening) {
    isVerbatim = true
    opening.blocks = nil
    reader?.passOver(.multifd(flags: 0))
  }

  /// Reads the beginning.
  /// - Parameter isAccompanied: whether there are other connections. Asked when the list of blocks has come; then what is
  ///   behind that is not waited for, because it comes with the first pages, which those connections hold up.
  func open(
    _ connection: Connection, isAccompanied: () -> Bool = { false }
  ) throws(MigrationFailure) -> Opening {
    let source = WindowedSource(connection: connection, window: window) { [weak self] in self?.tidy() }
    var opening = Opening(bytes: [], blocks: nil)
    do throws(StreamError) {
      var reader = try StreamReader(source, bufferByteCount: 128 << 10)
      var hasBlocks = false
      while let element = try reader.next() {
        if hasBlocks, reader.hasFooters == false {
          first = element
          break
        }
        reader.withElement { opening.bytes += $0.copied }
        switch element.kind {
        case .command(.openReturnPath): hasReturnPath = true
        case .command(.postcopyAdvise): opening.advisesPostcopy = true
        case .multifdFlush: opening.hasFlush = true
        case .blockList: hasBlocks = true
        default: break
        }
        if reader.opaqueCause != nil { break }
        if hasBlocks, case .footer = element.kind { break }
        if hasBlocks, element.kind == .endOfRecords, isAccompanied() { break }
      }
      if hasBlocks, reader.opaqueCause == nil {
        // The lanes' pages are 4096 bytes; what has larger ones is passed on.
        if reader.pageByteCount == PageGeometry.pageByteCount { opening.blocks = reader.blocks }
      }
      isVerbatim = opening.blocks == nil
      if let cause = reader.opaqueCause { warn("the stream is passed on as it is: \(cause)") }
      self.reader = consume reader
    } catch { throw Self.failure(error) }
    guard opening.bytes.count <= WireLimits.relayByteCountMax else {
      throw MigrationFailure(
        .hypervisorFailed,
        "the stream's beginning has \(opening.bytes.count) bytes, at most \(WireLimits.relayByteCountMax) "
          + "can be carried: too many RAM blocks")
    }
    position.store(UInt64(opening.bytes.count), ordering: .releasing)
    return opening
  }
}

/// The hypervisor's socket, read no faster than the window allows.
private struct WindowedSource: ByteSource {
  let connection: Connection
  let window: RelayWindow
  /// Called before each read.
  let between: () -> Void

  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    between()
    let count = window.awaitRoom(room.count)
    guard count > 0 else { return 0 }
    do throws(TransportError) {
      let got = unsafe try connection.receiveSome(into: UnsafeMutableRawBufferPointer(rebasing: room[..<count]))
      window.note(taken: got)
      return got
    } catch { return 0 }
  }
}
