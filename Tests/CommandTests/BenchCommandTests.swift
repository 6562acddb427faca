// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@Suite("pageferry bench", .serialized) struct BenchCommandTests {
  private static func server() throws -> (running: Command.Running, address: String) {
    let running = try Command.start(["bench", "server", "--listen", "127.0.0.1:0", "--wait", "20"])
    return (running, "127.0.0.1:\(try running.port(after: "waiting for a client"))")
  }

  private static let small = ["--memory", "16MiB", "--codecs", "auto,none", "--channels", "1,2", "--dirty", "0"]

  @Test("Two processes: a table, a page, and the options to use", .timeLimit(.minutes(5)))
  func whole() throws {
    let folder = TemporaryDirectory()
    let (server, address) = try Self.server()
    let ended = try Command.run(
      ["bench", "client", address, "--budget", "4", "--quiet", "--html", folder.file("a.html")] + Self.small)
    #expect(ended.code == 0, "\(ended.error)")
    #expect(ended.output.contains("link, plain TCP") && ended.output.contains("use  --codec "))
    #expect(ended.output.split(separator: "\n").allSatisfy { $0.count <= 100 })
    #expect(try String(contentsOfFile: folder.file("a.html"), encoding: .utf8).contains("<svg"))
    let served = server.finish()
    #expect(served.code == 0 && served.error.contains("is done"), "\(served.error)")
  }

  @Test("As JSON: one document on standard output, and nothing else")
  func json() throws {
    let (server, address) = try Self.server()
    let ended = try Command.run(["bench", "client", address, "--budget", "3", "--json"] + Self.small)
    #expect(ended.code == 0, "\(ended.error)")
    let report = try #require(
      JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any])
    #expect(report["schema"] as? Int == 1)
    for name in ["client", "server", "link", "clientFigures", "serverFigures", "cells", "skipped", "recommendation"] {
      #expect(report[name] != nil, "\(name)")
    }
    _ = server.finish()
  }

  @Test("The server is killed in the middle: one line, and the code of a peer that was lost")
  func serverKilled() throws {
    let (server, address) = try Self.server()
    let client = try Command.start(["bench", "client", address, "--budget", "30", "--quiet", "--memory", "64MiB"])
    Thread.sleep(forTimeInterval: 1.2)
    kill(server.process.processIdentifier, SIGKILL)
    let ended = client.finish()
    #expect(ended.code == 32, "\(ended.code) \(ended.error)")
    let lines = ended.error.split(separator: "\n")
    #expect(lines.count == 1 && lines[0].hasPrefix("pageferry: failed: \(address)"), "\(ended.error)")
    _ = server.finish()
  }

  @Test("Ctrl-C ends either side at once, with its own code", arguments: [true, false])
  func interrupted(atClient: Bool) throws {
    let (server, address) = try Self.server()
    let client = try Command.start(["bench", "client", address, "--budget", "30", "--quiet", "--memory", "64MiB"])
    Thread.sleep(forTimeInterval: 1)
    let started = Date()
    kill((atClient ? client : server).process.processIdentifier, SIGINT)
    let (sent, served) = (client.finish(), server.finish())
    #expect(Date().timeIntervalSince(started) < 3)
    #expect((atClient ? sent : served).code == 130, "\(sent.error) \(served.error)")
    #expect([32, 42].contains((atClient ? served : sent).code), "\(sent.error) \(served.error)")
  }

  @Test("Listening abroad takes --insecure; nobody there is said so")
  func refusals() throws {
    let abroad = try Command.run(["bench", "server", "--listen", "0.0.0.0:0"])
    #expect(abroad.code == 64 && abroad.error.contains("--insecure"))
    let alone = try Command.run(["bench", "server", "--listen", "127.0.0.1:0", "--wait", "1"])
    #expect(alone.code == 31 && alone.error.contains("--wait"))
  }

  @Test(
    "Wrong options are one clear line",
    arguments: [
      ["--codecs", "gzip"], ["--codecs", "none,,lz4"], ["--channels", "0"], ["--channels", "1,1"], ["--dirty", "-1"],
      ["--mix", "1:2:3"], ["--budget", "0"], ["--memory", "5000"], ["--workers", "x"],
    ])
  func options(arguments: [String]) throws {
    let ended = try Command.run(["bench", "client", "127.0.0.1:1"] + arguments)
    #expect(ended.code == 64, "\(ended.error)")
  }

  @Test("bench content: the same image from the same seed; one that exists stays")
  func content() throws {
    let folder = TemporaryDirectory()
    func make(_ name: String, _ rest: String...) throws -> Command.Ended {
      try Command.run(["bench", "content", folder.file(name), "--memory", "1MiB", "--mix", "25:50:25"] + rest)
    }
    #expect(try make("a").code == 0 && make("b").code == 0)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.file("a")))
    #expect(try bytes == Data(contentsOf: URL(fileURLWithPath: folder.file("b"))) && bytes.count == 1 << 20)
    #expect(try make("a").code == 20)
    #expect(try make("a", "--replace", "--seed", "2").code == 0)
  }
}
