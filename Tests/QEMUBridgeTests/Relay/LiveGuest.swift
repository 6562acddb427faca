// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport

@testable import QEMUBridge

/// A small Linux guest that rewrites its memory, checks every page before, and counts its passes on the serial line: made by
/// `perf/guest/build-live`, and booted by `scripts/test --long`, which says where it is.
struct LiveGuest {
  /// The folder that it was made in; nil where it was not asked for.
  static let folder: String? = ProcessInfo.processInfo.environment["PAGEFERRY_LONG"].flatMap { $0.isEmpty ? nil : $0 }
  /// Below a multiple of 256 KiB, see ``QEMUProcess/ramByteCount``.
  static let byteCount = (128 << 20) - 8192
  /// Seconds to boot, and for some passes.
  private static let patience = 90

  /// A line of it.
  struct Pass: Equatable {
    var number: Int
    var bad: Int
  }

  let qemu: QEMUProcess
  private let console: String
  let ram: String

  /// - Parameters:
  ///   - name: of its files in `folder`.
  ///   - rate: pages rewritten a second.
  ///   - isIncoming: whether it waits for a migration; else it is at work when this returns.
  ///   - isHeld: whether what has arrived waits for `cont`.
  init(
    in folder: TemporaryDirectory, name: String, rate: Int = 1500, isIncoming: Bool = false, isHeld: Bool = true
  ) throws {
    guard let made = Self.folder else { throw QEMUProcess.Failure(description: "no guest") }
    ram = folder.file("\(name).ram")
    console = folder.file("\(name).console")
    let words = try String(contentsOfFile: made + "/append", encoding: .utf8).trimmingCharacters(in: .newlines)
    qemu = try QEMUProcess(
      memoryFile: ram, byteCount: Self.byteCount, incoming: isIncoming ? "defer" : nil, isHeld: isHeld,
      words: [
        "-serial", "file:\(console)", "-kernel", "\(made)/vmlinuz", "-initrd", "\(made)/initrd", "-append",
        "\(words) working=16 rate=\(rate)",
      ])
    guard !isIncoming else { return }
    do { try wait(for: 2) } catch {
      qemu.end()
      throw error
    }
  }

  /// Everything that it has said; lines that are whole.
  var passes: [Pass] {
    guard let text = try? String(contentsOfFile: console, encoding: .isoLatin1) else { return [] }
    return text.split(whereSeparator: \.isNewline).compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 6, words[0] == "guest:", words[1] == "pass", words[5].hasPrefix("bad="),
        let number = Int(words[2]), let bad = Int(words[5].dropFirst(4))
      else { return nil }
      return Pass(number: number, bad: bad)
    }
  }

  var hasSpoken: Bool { (try? String(contentsOfFile: console, encoding: .isoLatin1))?.isEmpty == false }

  /// The number of its last pass; 0 before the first.
  var lastPass: Int { passes.last?.number ?? 0 }

  /// Waits until it has made `count` more passes than `since`.
  func wait(for count: Int, since: Int = 0) throws {
    for _ in 0..<Self.patience * 10 {
      if lastPass >= since + count { return }
      guard qemu.isRunning else { break }
      Thread.sleep(forTimeInterval: 0.1)
    }
    throw QEMUProcess.Failure(
      description:
        "the guest does not go on: pass \(lastPass), not \(since + count); QEMU \(qemu.isRunning ? "runs" : "has ended")"
    )
  }

  /// Pages in which two guests' memory differs; both have to be stopped.
  func pagesThatDiffer(from other: LiveGuest) throws -> [Int] {
    let (mine, theirs) = (try TemporaryDirectory.read(ram), try TemporaryDirectory.read(other.ram))
    guard mine != theirs else { return [] }
    return stride(from: 0, to: mine.count, by: 4096)
      .filter { mine[$0..<$0 + 4096] != theirs[$0..<min(theirs.count, $0 + 4096)] }.map { $0 / 4096 }
  }

  func end() { qemu.end() }
}
