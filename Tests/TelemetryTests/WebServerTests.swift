// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import TestSupport
import Testing
import Transport

@testable import Telemetry

@Suite("The HTTP server") struct WebServerTests {
  private static let anyPort = Endpoint.tcp(host: "127.0.0.1", port: 0)

  /// A site that watches `now`.
  private func site() -> (site: LiveSite, telemetry: Telemetry) {
    let metrics = OpenMetricsFactory()
    let telemetry = Telemetry(
      .init(
        session: "1a2b", peer: "p",
        statistics: {
          var now = Sample.live()
          now.peer = "<10.0.0.2>"
          return now
        }, settings: { Sample.settings },
        iterations: { Sample.iterations }), factory: metrics)
    telemetry.start()
    telemetry.finish()
    return (LiveSite(telemetry, metrics: metrics), telemetry)
  }

  @Test("Page, metrics and status, and nothing else")
  func paths() throws {
    let server = try site().site.serve(on: Self.anyPort, abroad: false)
    defer { server.stop() }
    let page = try WebClient.get("/?x=1", server.endpoint)
    #expect(page.status == 200 && page.headers["content-type"] == "text/html; charset=utf-8")
    #expect(page.headers["content-security-policy"]?.contains("default-src 'none'") == true)
    #expect(page.body.contains(">cannot converge</h1>") && page.body.contains("session 1a2b to &lt;10.0.0.2&gt;"))
    let metrics = try WebClient.get("/metrics", server.endpoint)
    #expect(metrics.headers["content-type"] == MetricFormat.openMetrics.contentType)
    try OpenMetricsCheck.check(metrics.body)
    #expect(Int(metrics.headers["content-length"] ?? "") == metrics.body.utf8.count)
    let older = try WebClient.get("/metrics", server.endpoint, headers: "Accept: text/plain;version=0.0.4\r\n")
    #expect(older.headers["content-type"] == MetricFormat.prometheus.contentType)
    let status = try WebClient.get("/status.json", server.endpoint)
    #expect(status.headers["content-type"] == "application/json" && status.body.hasPrefix("{\"history\""))
    for path in ["/etc/passwd", "/../status.json", "//", "/metrics/"] {
      #expect(try WebClient.get(path, server.endpoint).status == 404, "\(path)")
    }
  }

  @Test("HEAD says what GET would, without the body; other methods are refused")
  func methods() throws {
    let server = try site().site.serve(on: Self.anyPort, abroad: false)
    defer { server.stop() }
    let head = try WebClient.get("/metrics", server.endpoint, method: "HEAD")
    #expect(head.status == 200 && head.body.isEmpty && (Int(head.headers["content-length"] ?? "") ?? 0) > 1000)
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
      let answer = try WebClient.get("/", server.endpoint, method: method, headers: "Content-Length: 0\r\n")
      #expect(answer.status == 405 && answer.headers["allow"] == "GET, HEAD", "\(method)")
    }
  }

  @Test("Other names than this host's are refused: a page elsewhere cannot read along by a name of its own")
  func names() throws {
    let server = try WebServer(Self.anyPort, abroad: false) { _ in .plain(200, "yes") }
    defer { server.stop() }
    func status(_ host: String) throws -> Int {
      let client = try WebClient(server.endpoint)
      client.send("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")
      return try WebClient.answer(try #require(client.readAll())).status
    }
    for host in ["localhost", "localhost:80", "127.0.0.1:9464", "[::1]:9464", "LOCALHOST"] {
      #expect(try status(host) == 200, "\(host)")
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "127.evil.example:80"] {
      #expect(try status(host) == 403, "\(host)")
    }
  }

  @Test("Beyond this host only if asked to; a port that is taken is an error with a reason")
  func listening() throws {
    #expect(throws: WebServer.Failure.notLocal(.tcp(host: "0.0.0.0", port: 0))) {
      _ = try WebServer(.tcp(host: "0.0.0.0", port: 0), abroad: false) { _ in .plain(200, "") }
    }
    let server = try WebServer(.tcp(host: "", port: 0), abroad: true) { _ in .plain(200, "yes") }
    defer { server.stop() }
    let client = try WebClient(server.endpoint)
    client.send("GET / HTTP/1.0\r\nHost: some.name\r\n\r\n")
    #expect(try WebClient.answer(try #require(client.readAll())).body == "yes\n")
    guard case .tcp(_, let port) = server.endpoint else { return }
    #expect(throws: WebServer.Failure.self) {
      _ = try WebServer(.tcp(host: "127.0.0.1", port: port), abroad: false) { _ in .plain(200, "") }
    }
    #expect(throws: WebServer.Failure.self) {
      _ = try WebServer(.unix(path: "/tmp/x"), abroad: false) { _ in .plain(200, "") }
    }
  }

  @Test(
    "Whatever is sent, the server answers the next one",
    arguments: [
      "\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\nHost\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
    ])
  func garbage(text: String) throws {
    let server = try WebServer(Self.anyPort, abroad: false, limits: .init(milliseconds: 300)) { _ in
      .plain(200, "yes")
    }
    defer { server.stop() }
    let client = try WebClient(server.endpoint)
    client.send(text)
    let answer = try #require(client.readAll(), "it was not closed")
    #expect(answer.ranges(of: "HTTP/1.1 200").count <= 1)
    #expect(try WebClient.get("/", server.endpoint).body == "yes\n")
  }

  @Test("A request that is too large is refused before it takes memory", arguments: ["line", "headers", "body"])
  func large(part: String) throws {
    let server = try WebServer(Self.anyPort, abroad: false) { _ in .plain(200, "yes") }
    defer { server.stop() }
    let much = String(repeating: "a", count: 100_000)
    let client = try WebClient(server.endpoint)
    client.send(
      part == "line"
        ? "GET /\(much)"
        : part == "headers"
          ? "GET / HTTP/1.1\r\nX: \(much)" : "POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n\(much)")
    let answer = try #require(client.readAll())
    #expect(!answer.contains("200 OK"))
    #expect(try WebClient.get("/", server.endpoint).body == "yes\n")
  }

  @Test("Clients that do nothing are closed, and there are never more than so many")
  func stuck() throws {
    let limits = WebServer.Limits(connectionCount: 8, milliseconds: 400)
    let server = try WebServer(Self.anyPort, abroad: false, limits: limits) { _ in .plain(200, "yes") }
    defer { server.stop() }
    let clients = try (0..<40).map { _ in try WebClient(server.endpoint) }
    for client in clients.prefix(20) { client.send("GET / HT") }
    var most = 0
    for client in clients {
      most = max(most, server.connectionCount)
      #expect(client.readAll() != nil, "it was not closed")
    }
    #expect(most <= 8)
    // The last one has seen the end of its connection, and the server is about to.
    for _ in 0..<200 where server.connectionCount > 0 { HostClock.sleep(nanoseconds: 5_000_000) }
    #expect(server.connectionCount == 0)
    #expect(try WebClient.get("/", server.endpoint).body == "yes\n")
  }

  @Test("Clients that hang do not keep samples from being taken, nor the end from coming")
  func independent() throws {
    let telemetry = Telemetry(
      .init(session: "s", peer: "p", statistics: { Sample.live(seconds: Double(HostClock.now()) / 1e9) }),
      factory: OpenMetricsFactory())
    let server = try LiveSite(telemetry, metrics: OpenMetricsFactory()).serve(on: Self.anyPort, abroad: false)
    let clients = try (0..<40).map { _ in try WebClient(server.endpoint) }
    for client in clients { client.send("GET /status.json HTTP/1.1\r\n") }
    telemetry.start()
    HostClock.sleep(nanoseconds: 700_000_000)
    let begin = HostClock.now()
    telemetry.finish()
    server.stop()
    #expect(HostClock.now() - begin < 500_000_000)
    #expect((telemetry.status?.history.seconds.count ?? 0) >= 2)
    withExtendedLifetime(clients) {}
  }

  @Test("Waiting for a page that is open ends with the page, and with its limit")
  func watchers() {
    let (site, _) = site()
    var begin = HostClock.now()
    site.waitForWatchers()
    #expect(HostClock.now() - begin < 200_000_000, "nobody watches")
    _ = site.respond(.init(path: "/status.json"))
    begin = HostClock.now()
    site.waitForWatchers(limit: 0.3)
    #expect(HostClock.now() - begin > 250_000_000, "somebody did, and has not seen the end")
  }
}
