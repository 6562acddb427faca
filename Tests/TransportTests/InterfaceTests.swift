// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import Transport

@Suite struct InterfaceTests {
  @Test("A connection is on the interface that has its local address")
  func loopback() throws {
    let listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let near = try Dialer(endpoint: listener.endpoint, options: .init()).connect(within: .seconds(5))
    let far = try #require(try listener.accept(within: .seconds(5)))
    #expect(near.interfaceName == "lo" && far.interfaceName == "lo")
  }

  @Test("A Unix socket is on none")
  func local() throws {
    let folder = TemporaryDirectory()
    let listener = try Listener(endpoint: .unix(path: folder.file("s")), options: .init())
    let near = try Dialer(endpoint: listener.endpoint, options: .init()).connect(within: .seconds(5))
    #expect(near.interfaceName == nil)
    near.shutDown()
  }

  @Test(
    "Addresses as the kernel prints them",
    arguments: [("127.0.0.1", "lo"), ("::ffff:127.0.0.1", "lo"), ("192.0.2.7", nil), ("", nil), ("%", nil)])
  func addresses(address: String, expected: String?) { #expect(Connection.interface(withAddress: address) == expected) }
}
