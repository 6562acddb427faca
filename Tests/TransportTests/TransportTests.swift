// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import SystemPackage
import TestSupport
import Testing
import Transport

@Suite struct EndpointTests {
  @Test(
    "Every documented form is read, and printed back",
    arguments: [
      ("127.0.0.1:4410", "127.0.0.1:4410"), ("tcp:host.example:1", "host.example:1"), ("[::1]:65535", "[::1]:65535"),
      (":0", ":0"), ("unix:/run/x.sock", "unix:/run/x.sock"),
    ])
  func goodForms(text: String, printed: String) throws {
    #expect("\(try Endpoint(parsing: text))" == printed)
  }

  @Test(
    "A wrong form is refused with the reason",
    arguments: [
      ("localhost", "port is missing"), ("host:http", "not a port"), ("host:70000", "not a port"),
      ("::1:80", "brackets"), ("unix:", "1 to 107"), ("unix:" + String(repeating: "x", count: 108), "1 to 107"),
    ])
  func badForms(text: String, reason: String) {
    #expect {
      _ = try Endpoint(parsing: text)
    } throws: {
      "\($0)".contains(reason)
    }
  }
}

/// A connected pair, over `kind`.
struct Pair {
  let listener: Listener
  let near: Connection
  let far: Connection

  init(_ endpoint: Endpoint, options: SocketOptions = .init()) throws {
    listener = try Listener(endpoint: endpoint, options: options)
    near = try Dialer(endpoint: listener.endpoint, options: options).connect(within: .seconds(5))
    far = try #require(try listener.accept(within: .seconds(5)))
  }
}

@Suite struct ConnectionTests {
  static let anyPort = Endpoint.tcp(host: "127.0.0.1", port: 0)

  @Test("The kernel tells how long a TCP channel was busy, and held back by its reader; of a Unix socket it does not")
  func busyTime() throws {
    let pair = try Pair(Self.anyPort)
    let before = try #require(pair.near.busyTime)
    let message = [UInt8](repeating: 7, count: 64 << 20)
    let sender = HostThread(name: "sender") { try? pair.near.send(message) }
    // Nobody reads: the receiver's window closes, and stays so.
    HostClock.sleep(nanoseconds: 200_000_000)
    let stuck = try #require(pair.near.busyTime)
    _ = try pair.far.receive(count: message.count)
    sender.join()
    let after = try #require(pair.near.busyTime)
    #expect(stuck.total >= before.total + 100_000_000)
    #expect(stuck.receiverLimited >= before.receiverLimited + 50_000_000)
    #expect(after.total >= stuck.total && after.receiverLimited <= after.total)
    let folder = TemporaryDirectory()
    #expect(try Pair(.unix(path: folder.file("s"))).near.busyTime == nil)
  }

  @Test("Bytes arrive in order and are counted on both sides, over TCP and Unix sockets", arguments: [true, false])
  func delivers(tcp: Bool) throws {
    let folder = TemporaryDirectory()
    let pair = try Pair(tcp ? Self.anyPort : .unix(path: folder.file("s")))
    var generator = SeededGenerator(seed: 1)
    let message = generator.bytes(3_000_000)
    let sender = HostThread(name: "sender") { try? pair.near.send(message) }
    let got = try pair.far.receive(count: message.count)
    sender.join()
    #expect(got[...].isSame(as: message[...]))
    #expect(pair.near.sentByteCount == 3_000_000)
    #expect(pair.far.receivedByteCount == 3_000_000)
  }

  @Test("A vector larger than the socket's buffers arrives whole")
  func partialWrites() throws {
    let pair = try Pair(Self.anyPort, options: SocketOptions(bufferByteCount: 16 << 10))
    let parts = (0..<IOVector.capacity).map { [UInt8](repeating: UInt8(truncatingIfNeeded: $0), count: 50_000 + $0) }
    let expected = parts.flatMap { $0 }
    let sender = HostThread(name: "sender") {
      let vector = IOVector()
      unsafe expected.withUnsafeBytes { whole in
        var offset = 0
        for part in parts {
          unsafe vector.append(UnsafeRawBufferPointer(rebasing: whole[offset..<offset + part.count]))
          offset += part.count
        }
        try? pair.near.send(vector)
      }
    }
    let got = try pair.far.receive(count: expected.count)
    sender.join()
    #expect(got == expected)
  }

  @Test("A peer that closes ends a receive with its name")
  func peerCloses() throws {
    let pair = try Pair(Self.anyPort)
    try pair.near.send([1, 2, 3])
    pair.near.finishSending()
    #expect(throws: TransportError.closedByPeer) { try pair.far.receive(count: 4) }
  }

  @Test("Shutting down from another thread ends a blocked receive")
  func shutDownWakes() throws {
    let pair = try Pair(Self.anyPort)
    let stopper = HostThread(name: "stopper") {
      HostClock.sleep(nanoseconds: 50_000_000)
      pair.far.shutDown()
    }
    #expect(throws: TransportError.stopped) { try pair.far.receive(count: 1) }
    stopper.join()
  }

  @Test("A silent peer ends a receive when its time is up")
  func receiveTimesOut() throws {
    let pair = try Pair(Self.anyPort)
    pair.far.setTimeout(.milliseconds(50))
    #expect(throws: TransportError.timedOut) { try pair.far.receive(count: 1) }
  }

  @Test("An address in use is named")
  func addressInUse() throws {
    let first = try Listener(endpoint: Self.anyPort, options: .init())
    #expect {
      _ = try Listener(endpoint: first.endpoint, options: .init())
    } throws: {
      "\($0)".contains("the address is in use") && "\($0)".contains("\(first.endpoint)")
    }
  }

  @Test("A Unix socket left behind by a dead listener is taken over, a live one is not")
  func staleUnixSocket() throws {
    let folder = TemporaryDirectory()
    let endpoint = Endpoint.unix(path: folder.file("s"))
    var live: Listener? = try Listener(endpoint: endpoint, options: .init())
    #expect(throws: TransportError.cannotListen(endpoint, .addressInUse)) {
      _ = try Listener(endpoint: endpoint, options: .init())
    }
    // A socket file whose listener is gone: its name was changed, so that closing it did not remove it.
    let left = folder.file("left")
    _ = unsafe rename(folder.file("s"), left)
    #expect(live != nil)
    live = nil
    _ = try Listener(endpoint: .unix(path: left), options: .init())
  }

  @Test("Nobody at home: the dialer retries, gives up in time, and says for how long it tried")
  func givesUp() throws {
    let endpoint: Endpoint
    do { endpoint = try Listener(endpoint: Self.anyPort, options: .init()).endpoint }
    let started = HostClock.now()
    #expect(throws: TransportError.cannotConnect(endpoint, .connectionRefused, seconds: 0)) {
      _ = try Dialer(endpoint: endpoint, options: .init()).connect(within: .milliseconds(600))
    }
    #expect(HostClock.now() - started < 2_000_000_000)
  }

  @Test("A listener that comes late is still found")
  func retries() throws {
    let folder = TemporaryDirectory()
    let endpoint = Endpoint.unix(path: folder.file("late"))
    let late = HostThread(name: "late") {
      HostClock.sleep(nanoseconds: 300_000_000)
      let listener = try? Listener(endpoint: endpoint, options: .init())
      _ = try? listener?.accept(within: .seconds(5))
    }
    let connection = try Dialer(endpoint: endpoint, options: .init()).connect(within: .seconds(5))
    late.join()
    #expect(connection.peer == "\(endpoint)")
  }

  @Test("A dialer that is cancelled stops trying at once")
  func cancelledDial() throws {
    let folder = TemporaryDirectory()
    #expect(throws: TransportError.stopped) {
      _ = try Dialer(endpoint: .unix(path: folder.file("none")), options: .init())
        .connect(within: .seconds(60), isCancelled: { true })
    }
  }

  @Test("Only loopback counts as local", arguments: [("127.0.0.1", true), ("::1", true), ("0.0.0.0", false)])
  func locality(host: String, isLocal: Bool) throws {
    let listener = try Listener(endpoint: .tcp(host: host, port: 0), options: .init())
    #expect(listener.isLocal == isLocal)
  }
}

@Suite struct PacerTests {
  @Test("Several senders together keep to the limit, and come close to it")
  func sharedLimit() {
    let bytesPerSecond = 50_000_000
    let pacer = Pacer(bytesPerSecond: UInt64(bytesPerSecond))
    let started = HostClock.now()
    let threads = (0..<3).map { _ in
      HostThread(name: "paced") { for _ in 0..<20 { pacer.wait(byteCount: 250_000, isCancelled: { false }) } }
    }
    for thread in threads { thread.join() }
    let seconds = Double(HostClock.now() - started) / 1e9
    // 15 MB at 50 MB/s and a tenth more are 0.27 s, less the last booking and the burst of 10 ms; a busy machine may be
    // late.
    #expect(seconds > 0.25)
    #expect(seconds < 1.5)
  }

  @Test("Cancelling ends a long wait")
  func cancels() {
    let pacer = Pacer(bytesPerSecond: 1)
    pacer.wait(byteCount: 1000, isCancelled: { false })
    let started = HostClock.now()
    pacer.wait(byteCount: 1, isCancelled: { HostClock.now() - started > 20_000_000 })
    #expect(HostClock.now() - started < 1_000_000_000)
  }
}
