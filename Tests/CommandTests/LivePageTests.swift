// SPDX-License-Identifier: Apache-2.0
import Foundation
import FoundationNetworking
import GuestMemory
import Testing

/// What the live page needs to be looked at; said aloud where it is missing.
private let browser: (path: String, comment: Comment) = {
  let refusal = DirtyTracking.refusal(of: .automatic).map { "\($0)" }
  let names = ["chromium", "chromium-browser", "google-chrome", "chrome"]
  let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
  let found = names.lazy.flatMap { name in folders.map { "\($0)/\(name)" } }
    .first { FileManager.default.isExecutableFile(atPath: $0) }
  let missing = refusal ?? (found == nil ? "no browser: \(names.joined(separator: ", "))" : nil)
  if let missing { print("SKIPPED: the live page in a browser: \(missing)") }
  return (missing == nil ? found ?? "" : "", "\(missing ?? "")")
}()

@Suite("The live page of a demo", .serialized, .timeLimit(.minutes(2))) struct LivePageTests {
  /// Writes more than the link carries: it would go on for ever.
  private static let endless = [
    "demo", "--memory", "64MiB", "--working-set", "48MiB", "--rate", "200", "--pattern", "sequential", "--link",
    "16MiB",
    "--codec", "none", "--delta-cache", "off",
  ]

  private func start(_ more: [String] = []) throws -> (demo: Command.Running, page: String) {
    let demo = try Command.start(Self.endless + ["--http", "127.0.0.1:0"] + more)
    // The address ends with a slash.
    let line = try demo.line(with: "live page on ")
    return (demo, try #require(line.split(separator: " ").last.map { String($0) }))
  }

  private func end(_ demo: Command.Running) {
    kill(demo.process.processIdentifier, SIGTERM)
    _ = demo.finish()
  }

  @Test(
    "A browser runs its script: figures, charts and iterations of a migration under way",
    .enabled(if: !browser.path.isEmpty, browser.comment))
  func inBrowser() throws {
    let (demo, page) = try start()
    defer { end(demo) }
    // Without a script it says so first; charts need a few samples more.
    let address = try #require(URL(string: page))
    for _ in 0..<80 where try !String(contentsOf: address, encoding: .utf8).contains("cannot converge</h1>") {
      Thread.sleep(forTimeInterval: 0.5)
    }
    // 64 MiB at 16 MiB/s: then there is an iteration that has ended.
    Thread.sleep(forTimeInterval: 7)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("pageferry-page-\(getpid())")
    defer { try? FileManager.default.removeItem(at: folder) }
    let document = try browse(page, folder, ["--dump-dom"])
    #expect(document.contains("cannot converge</h1>"), "\(document.prefix(6000))")
    // Drawn by the script, from samples that it has fetched.
    for chart in ["chart-rates", "chart-throttle", "chart-downtime", "chart-remaining"] {
      let part = try #require(document.components(separatedBy: "id=\"\(chart)\"").last)
      let drawing = part.components(separatedBy: "</svg>")[0]
      #expect(drawing.contains("<svg") && drawing.contains("class=\"line"), "\(chart)")
    }
    let dirty = try #require(document.components(separatedBy: "id=\"dirty-rate\">").last)
    #expect(dirty.first.map { $0.isNumber } == true, "\(dirty.prefix(40))")
    #expect(document.contains("<tbody id=\"iterations\"><tr><td>"))
    #expect(!document.contains("id=\"stale\" role=\"alert\">"))
    let picture = folder.appendingPathComponent("page.png")
    _ = try browse(page, folder, ["--screenshot=\(picture.path)", "--window-size=1100,1400"])
    let bytes = try Data(contentsOf: picture)
    #expect(bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) && bytes.count > 20_000, "\(bytes.count)")
  }

  private func browse(_ page: String, _ folder: URL, _ more: [String]) throws -> String {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: browser.path)
    process.arguments =
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-breakpad", "--user-data-dir=\(folder.path)", "--timeout=3000",
        "--virtual-time-budget=3000",
      ] + more + [page]
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
  }

  @Test("Without a script the figures are there, too, and the end is in the file")
  func asServed() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("pageferry-\(getpid()).prom")
    defer { try? FileManager.default.removeItem(at: file) }
    let (demo, page) = try start(["--metrics-file", file.path])
    Thread.sleep(forTimeInterval: 1.5)
    let document = try String(contentsOf: try #require(URL(string: page)), encoding: .utf8)
    #expect(document.contains("<noscript><meta http-equiv=\"refresh\""))
    #expect(document.contains("<dd id=\"total\">64.0 MiB</dd>"))
    #expect(document.contains("<td>16.8 MB/s</td>"), "the bandwidth limit")
    kill(demo.process.processIdentifier, SIGTERM)
    #expect(demo.finish().code == 143)
    let left = try String(contentsOf: file, encoding: .utf8)
    #expect(left.contains("pageferry_phase=\"cancelled\"} 1\n"))
  }

  @Test("What cannot be had is said in one line, with the exit code of its kind")
  func refusals() throws {
    let small = ["demo", "--memory", "16MiB", "--working-set", "4MiB"]
    let abroad = try Command.run(small + ["--http", "0.0.0.0:0"])
    #expect(abroad.code == 64 && abroad.error.contains("--insecure"), "\(abroad.error)")
    let file = try Command.run(small + ["--metrics-file", "/no/such/place.prom"])
    #expect(file.code == 22 && file.error.contains("cannot write the metrics"), "\(file.error)")
    let unix = try Command.run(small + ["--http", "unix:/tmp/x"])
    #expect(unix.code == 64, "\(unix.error)")
    let (demo, page) = try start()
    defer { end(demo) }
    let taken = try Command.run(small + ["--http", String(page.dropFirst("http://".count).dropLast())])
    #expect(taken.code == 30 && taken.error.contains("--http"), "\(taken.error)")
  }
}
