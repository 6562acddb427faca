import Glibc
import GuestMemory
import HostSystem
import Migration
import TestSupport
import Testing
import Transport

// SPDX-License-Identifier: Apache-2.0
@testable import Control

/// The socket itself, on a migration that has not begun.
@Suite("The control socket")
struct ControlSocketTests {
  private let folder = TemporaryDirectory()

  private var path: String { folder.file("control") }

  private func session() throws -> SourceSession {
    let image = try ImageSource(path: try folder.write([UInt8](repeating: 1, count: 4096), to: "image.raw"))
    return SourceSession(
      guest: StillGuest(image),
      configuration: .init(endpoint: .unix(path: folder.file("nobody")), laneCount: 4, software: "test"))
  }

  private func started(_ limits: ControlSocket.Limits = .init()) throws -> ControlSocket {
    let socket = try ControlSocket(path: path, version: "1.2.3", limits: limits)
    socket.start(try session())
    return socket
  }

  private func mode(_ path: String) -> mode_t {
    var status = stat()
    return unsafe lstat(path, &status) == 0 ? status.st_mode & 0o777 : 0
  }

  @Test("Only its owner may use it, whatever the umask, and it goes at the end")
  func permissions() throws {
    for mask in [0, 0o022, 0o077] as [mode_t] {
      let before = umask(mask)
      defer { umask(before) }
      let socket = try started()
      #expect(mode(path) == 0o600)
      socket.finish(nil)
      socket.finish(nil)
      #expect(!TemporaryDirectory.exists(path))
    }
  }

  @Test("Users: the same, and root")
  func users() {
    #expect(ControlSocket.isAllowed(1000, for: 1000) && ControlSocket.isAllowed(0, for: 1000))
    #expect(!ControlSocket.isAllowed(1001, for: 1000) && !ControlSocket.isAllowed(1000, for: 0))
  }

  @Test("A socket that a killed process left is replaced; one that is in use, and any other file, is not")
  func taken() throws {
    let descriptor = try UnixSocket.make()
    try UnixSocket.bind(descriptor, path)
    close(descriptor)
    let socket = try started()
    #expect(throws: ControlSocketError("\(path)", "another process listens there")) {
      try ControlSocket(path: path, version: "")
    }
    #expect(try ControlClient(path: path).greeting.pageferry == "1.2.3")
    socket.finish(nil)
    let file = try folder.write([1, 2, 3], to: "control")
    #expect(throws: ControlSocketError.self) { try ControlSocket(path: file, version: "") }
    #expect(try TemporaryDirectory.read(file) == [1, 2, 3])
    for wrong in [folder.file("none/control"), folder.file(String(repeating: "x", count: 100)), ""] {
      #expect(throws: ControlSocketError.self) { try ControlSocket(path: wrong, version: "") }
    }
  }

  @Test("A file that has taken the socket's place is left alone")
  func replaced() throws {
    let socket = try started()
    _ = unsafe unlink(path)
    try folder.write([1], to: "control")
    socket.finish(nil)
    #expect(TemporaryDirectory.exists(path))
  }

  @Test("The 17th client is told so; a place that becomes free is taken")
  func tooMany() throws {
    let socket = try started()
    defer { socket.finish(nil) }
    var clients: [ControlClient] = []
    for _ in 0..<16 { clients.append(try ControlClient(path: path)) }
    #expect(throws: ControlClientError.self) { try ControlClient(path: path) }
    do throws(ControlClientError) {
      _ = try ControlClient(path: path)
    } catch {
      guard case .refused(let refusal) = error else { throw error }
      #expect(refusal.code == .tooManyClients)
    }
    #expect(try clients[15].status().statistics.status == .setup)
    clients.removeLast()
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(try ControlClient(path: path).status().statistics.status == .setup)
  }

  @Test("A client that does not read is dropped, and nobody else notices")
  func slowReader() throws {
    var limits = ControlSocket.Limits()
    limits.patience = .milliseconds(300)
    let socket = try started(limits)
    defer { socket.finish(nil) }
    let (slow, other) = (try ControlClient(path: path), try ControlClient(path: path))
    // Far more answers than buffers hold; the socket stops reading before that, so this may not take all.
    slow.limit = .milliseconds(100)
    let line = Array(#"{"command":"help"}"#.utf8) + [UInt8(ascii: "\n")]
    #expect(throws: ControlClientError.self) { while true { try slow.send(line) } }
    let asked = HostClock.now()
    #expect(try other.status().statistics.status == .setup)
    #expect(HostClock.now() - asked < 300_000_000)
    HostClock.sleep(nanoseconds: 600_000_000)
    // What was sent before can be read; then it ends.
    slow.limit = .seconds(2)
    #expect(throws: ControlClientError.self) {
      while true { _ = try slow.nextLine(within: .seconds(2)) }
    }
    #expect(try other.status().statistics.status == .setup)
  }

  @Test("Lines come in pieces, several at once, and without an end; answers carry the request's id")
  func lines() throws {
    let socket = try started()
    defer { socket.finish(nil) }
    let client = try ControlClient(path: path)
    for byte in Array(#"{"id":[1,"x",null],"command":"version"}"#.utf8) + [UInt8(ascii: "\n")] {
      try client.send([byte])
    }
    #expect(
      String(decoding: try client.nextLine(within: .seconds(2)), as: UTF8.self)
        == #"{"id":[1,"x",null],"ok":true,"result":{"pageferry":"1.2.3","protocol":1}}"#)
    let requests = (0..<200).map { #"{"command":"version","id":\#($0)}"# }.joined(separator: "\n\n \r\n")
    try client.send(Array((requests + "\n").utf8))
    for id in 0..<200 {
      let line = String(decoding: try client.nextLine(within: .seconds(2)), as: UTF8.self)
      #expect(line.hasPrefix(#"{"id":\#(id),"ok":true"#), "\(line)")
    }
    #expect(try client.code(#"{"id":null,"command":"pause"}"#) == "not-now")
    #expect(try client.code(String(repeating: " ", count: 65_000) + #"{"command":"help"}"#) == nil)
    #expect(try client.code(String(repeating: " ", count: 65_537) + #"{"command":"help"}"#) == "line-too-long")
    #expect(try client.code(#"{"command":"help"}"#) == nil)
  }

  @Test("A client that says something and hangs up at once is heard")
  func hangsUp() throws {
    let socket = try started()
    defer { socket.finish(nil) }
    for (text, limit) in [("\n", 11), ("", 12)] {
      let descriptor = try UnixSocket.make()
      try UnixSocket.connect(descriptor, path)
      let line = #"{"command":"set","arguments":{"downtime-limit":\#(limit)}}"# + text
      _ = try UnixSocket.send(descriptor, Array(line.utf8)[...])
      close(descriptor)
      HostClock.sleep(nanoseconds: 100_000_000)
      #expect(try ControlClient(path: path).status().settings["downtime-limit"] == .integer(Int64(limit)))
    }
  }

  @Test("An end without a start leaves nothing")
  func neverStarted() throws {
    _ = try ControlSocket(path: path, version: "")
    #expect(!TemporaryDirectory.exists(path))
    let socket = try ControlSocket(path: path, version: "")
    socket.finish(nil)
    #expect(!TemporaryDirectory.exists(path))
  }
}
