// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import HostSystem
import Lanes
import PageModel
import SystemPackage
import Transport
import Wire

@testable import Migration
@testable import QEMUBridge

/// Plays the half of a pair beside the destination hypervisor with what a hostile other half says, and checks what becomes
/// of it: nothing is written but what good frames name, and the hypervisor is told just that. Shared by the corpus tests and
/// the fuzzers.
///
/// All on one thread, but for the hypervisor's: the session's parts in the order in which a script has them take their turn.
final class ArrivalDriver {
  private static let configuration = RelayDestination.Configuration(
    hypervisor: .unix(path: "/nonexistent"), direct: .off, memoryLimit: 1 << 20, software: "driver")
  /// More is not played: each lane's codec may take as much.
  private static let historyLogMax = 20

  private let script: RelayScript
  private let control: DriverSockets
  private let hypervisor: DriverSockets
  private let collector: DriverCollector
  private let channel: ControlChannel

  private init?(_ script: RelayScript) {
    guard let control = DriverSockets(), let hypervisor = DriverSockets() else { return nil }
    self.script = script
    (self.control, self.hypervisor) = (control, hypervisor)
    channel = ControlChannel(control.near)
    collector = DriverCollector(hypervisor.far)
  }

  static func run(_ script: RelayScript) -> String? {
    guard let driver = ArrivalDriver(script) else { return "no sockets" }
    var problem: String?
    do throws(MigrationFailure) { problem = try driver.play() } catch {
      problem = DriverText.problem(in: error.reason)
    }
    driver.hypervisor.near.shutDown()
    _ = driver.collector.finish()
    return problem
  }

  private func receive(_ bytes: [UInt8]) throws(MigrationFailure) -> ControlMessage {
    do throws(TransportError) { try control.far.send(bytes) } catch { throw MigrationFailure(.internal, "\(error)") }
    return try channel.receive()
  }

  // MARK: Setup

  private func play() throws(MigrationFailure) -> String? {
    let greeting =
      script.greeting.map { RelayScript.message(1, $0) } ?? ControlMessage.hello(RelayScript.hello).encoded()
    guard case .hello(let hello) = try receive(greeting), hello.historyLog <= Self.historyLogMax else { return nil }
    let arrival = RelayArrival(channel, hello, configuration: Self.configuration, logger: DriverText.silence)
    let blocks = try arrival.check()
    let bytes = script.opening ?? script.goodOpening
    guard case .relay(let first) = try receive(ControlMessage.relay(.init(afterIteration: 0, bytes: bytes)).encoded())
    else { return "the stream's beginning comes as something else" }
    let opening = try blocks.map { (blocks) throws(MigrationFailure) in try arrival.parse(first.bytes, blocks) }
    do throws(TransportError) { try hypervisor.near.send(first.bytes) } catch { return "the hypervisor does not read" }
    guard let blocks, let opening else { return try relay(hello, after: first.bytes) }
    let file = script.options.contains(.direct) ? DriverFile(opening.blocks) : nil
    guard let memory = file?.memory(blocks) ?? (try? ArrivingMemory(blocks, shared: [:])) else { return "no memory" }
    let model = ArrivalModel(memory, file: file)
    let stream = ArrivingStream(hypervisor.near, memory: memory, opening: opening)
    guard let turns = ArrivalTurns(stream, hypervisor: hypervisor.near, hello: hello) else { return "no memory" }
    let channels = ArrivalChannels(memory, hello, model)
    let problem = try play(turns, channels, model) ?? model.problem(in: file)
    hypervisor.near.shutDown()
    return problem ?? turns.problem(in: collector.finish(), after: first.bytes, opening)
  }

  /// A stream that cannot be taken apart.
  private func relay(_ hello: ControlMessage.Hello, after first: [UInt8]) throws(MigrationFailure) -> String? {
    let stream = ArrivingStream(hypervisor.near, memory: nil, opening: nil)
    guard let turns = ArrivalTurns(stream, hypervisor: hypervisor.near, hello: hello) else { return "no memory" }
    let problem = try play(turns, nil, nil)
    hypervisor.near.shutDown()
    return problem ?? turns.problem(in: collector.finish(), after: first, nil)
  }

  // MARK: Pieces

  private func play(
    _ turns: ArrivalTurns, _ channels: ArrivalChannels?, _ model: ArrivalModel?
  ) throws(MigrationFailure) -> String? {
    var end: MigrationFailure?
    pieces: for piece in script.pieces {
      do throws(MigrationFailure) {
        switch piece {
        case .frame(let bytes, let number), .repairedFrame(let bytes, let number):
          var isRepaired = false
          if case .repairedFrame = piece { isRepaired = true }
          guard let channels, number < channels.count else { continue }
          let outcome = channels.take(bytes, number: number, isRepaired: isRepaired)
          if let problem = outcome.problem { return problem }
          for mark in outcome.marks { try turns.note(lane: mark.lane, iteration: mark.iteration) }
          if outcome.isOver { break pieces }
        case .message(let type, let body):
          guard try turns.hear(try receive(RelayScript.message(type, body)), peer: channel.peer) else { break pieces }
        case .turn:
          if let problem = turns.take(model) { return problem }
        }
      } catch {
        end = error
        break pieces
      }
    }
    if let end, let problem = DriverText.problem(in: end.reason) { return problem }
    return turns.take(model)
  }
}

/// The hypervisor's own memory, as a file: half of it holds something already.
@safe final class DriverFile {
  private let file: UnsafeMutablePointer<FILE>
  private let byteCount: Int
  private let files: [Int: FileDescriptor]

  /// Nil where the memory cannot be had: as the product says.
  init?(_ blocks: [StreamBlock]) {
    guard let largest = blocks.map(\.byteCount).max(), largest <= 1 << 20 else { return nil }
    byteCount = Int(largest)
    guard let file = unsafe tmpfile() else { return nil }
    unsafe self.file = file
    let descriptor = unsafe fileno(file)
    let page = [UInt8](repeating: 0xab, count: 4096)
    _ = ftruncate(descriptor, byteCount)
    for at in stride(from: 0, to: byteCount, by: 2 * 4096) { _ = unsafe pwrite(descriptor, page, 4096, at) }
    guard let sockets = DriverSockets(),
      case .success(let found) = DirectMemory.file(path: "/proc/self/fd/\(descriptor)").open(sockets.near, blocks)
    else {
      unsafe fclose(file)
      return nil
    }
    files = found
  }

  deinit {
    for file in files.values { try? file.close() }
    unsafe fclose(file)
  }

  func memory(_ blocks: BlockTable) -> ArrivingMemory? { try? ArrivingMemory(blocks, shared: files) }

  /// What it holds now.
  var bytes: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: byteCount + 4096)
    let got = unsafe pread(fileno(file), &bytes, bytes.count, 0)
    return Array(bytes.prefix(max(0, got)))
  }
}
