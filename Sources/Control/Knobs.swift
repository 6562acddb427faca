// SPDX-License-Identifier: Apache-2.0
import Convergence
import HostSystem
import Lanes
import Migration
import PageCodecs
import PageModel

extension Knob {
  /// Every setting that can be changed, in the order of output. Parsing, printing, `help`, `pageferry ctl` and the check of
  /// docs/CONTROL.md go by this.
  public static let all: [Knob] = [
    rate("bandwidth", "limit of all channels together; 0: none", \.bandwidthLimit),
    rate("switchover-bandwidth", "the same while the guest stands still; 0: as before", \.switchoverBandwidth),
    Knob(
      "downtime-limit", unit: .milliseconds, takes: "1 to 3600000 ms",
      "the guest is paused once what is left fits into this",
      value: { number(Double($0.downtimeLimit.nanoseconds) / 1e6) },
      parse: { text in
        guard let limit = decimal(text, unit: "ms"), (1...3_600_000).contains(limit) else { return .wrong() }
        return .change { $0.downtimeLimit = .nanoseconds(Int64(limit * 1e6)) }
      }),
    Knob(
      "codec", takes: "auto, or a codec and its level (zstd:3)", "what pages are encoded with",
      value: { .string("\($0.codec)") },
      parse: { text in
        do throws(CodecError) {
          let codec = try CodecPolicy(parsing: text)
          return .change { $0.codec = codec }
        } catch { return .wrong("\(error)") }
      }),
    whole("workers", 1...256, takes: "1 to the number of lanes", "lanes that work at the same time", \.workers),
    whole(
      "channels", 1...64, takes: "1 to the number of lanes, 64 at most", "data channels that are in use", \.channels),
    Knob(
      "delta-cache", unit: .bytes, takes: "a size (1GiB), a share of guest memory (1%), auto or off",
      "what is remembered of hot pages for deltas", value: { cacheSize($0.deltaCache) },
      parse: { text in
        guard let size = CacheBudget.Size(parsing: text) else { return .wrong() }
        return .change { $0.deltaCache = size }
      }),
    Knob(
      "policy",
      takes: "none, or some of \(ConvergencePolicy.names.map { $0.name }.joined(separator: ", ")), with commas",
      "what is done if the guest writes too much", value: { .string("\($0.policy)") },
      parse: { text in
        guard let policy = ConvergencePolicy(text) else { return .wrong() }
        return .change { $0.policy = policy }
      }),
    Knob(
      "throttle", unit: .percent, takes: "0 to 99 percent, or policy",
      "how much the guest is throttled; policy: as the policy says",
      value: { $0.throttle.map { .integer(Int64($0)) } ?? .string("policy") },
      parse: { text in
        if text == "policy" || text == "none" { return .change { $0.throttle = nil } }
        guard let percent = integer(text, unit: "%"), (0...99).contains(percent) else { return .wrong() }
        return .change { $0.throttle = percent }
      }),
    percent("throttle-initial", 1...99, "auto-converge: the first throttle", \.autoConverge.initial),
    percent("throttle-increment", 1...99, "auto-converge: each further step", \.autoConverge.increment),
    Knob(
      "throttle-max", unit: .percent, takes: "1 to 99 percent", "the most that policies throttle",
      value: { .integer(Int64($0.autoConverge.limit)) },
      parse: { text in
        guard let percent = integer(text, unit: "%"), (1...99).contains(percent) else { return .wrong() }
        return .change {
          $0.autoConverge.limit = percent
          $0.dirtyLimit.limit = percent
        }
      }),
    percent(
      "throttle-trigger", 1...100, "auto-converge: throttle when more than this share of what is sent is written",
      \.autoConverge.trigger),
    flag("throttle-tailslow", "auto-converge: smaller steps near the aim", \.autoConverge.tailslow),
    Knob(
      "dirty-limit", unit: .percent, takes: "1 to 100 percent",
      "dirty-limit: what may be written, as a share of what is sent",
      value: { number($0.dirtyLimit.fraction * 100) },
      parse: { text in
        guard let percent = integer(text, unit: "%"), (1...100).contains(percent) else { return .wrong() }
        return .change { $0.dirtyLimit.fraction = Double(percent) / 100 }
      }),
    Knob(
      "deadline", unit: .seconds, takes: "0.1 s to a year, or none",
      "seconds after the start at which deadline-action is taken",
      value: { $0.deadline.map { number($0) } ?? .string("none") },
      parse: { text in
        if text == "none" || text == "off" { return .change { $0.deadline = nil } }
        guard let deadline = decimal(text, unit: "s"), (0.1...31_536_000).contains(deadline) else { return .wrong() }
        return .change { $0.deadline = deadline }
      }),
    Knob(
      "deadline-action", takes: "pause or cancel", "what happens at the deadline",
      value: { .string($0.deadlineAction.rawValue) },
      parse: { text in
        guard let action = MigrationSettings.DeadlineAction(rawValue: text) else { return .wrong() }
        return .change { $0.deadlineAction = action }
      }),
    flag("hold", "the guest stays here although it could be handed over", \.holds),
  ]

  // MARK: Kinds of knobs

  private typealias Path<Value> = WritableKeyPath<MigrationSettings, Value> & Sendable

  private static func rate(_ name: String, _ meaning: String, _ path: any Path<UInt64>) -> Knob {
    Knob(
      name, unit: .bytesPerSecond, takes: "bytes per second (100MiB), bits (1Gbit), or 0", meaning,
      value: { .integer(Int64(clamping: $0[keyPath: path])) },
      parse: { text in
        let none = text == "0" || text == "none"
        guard let rate = none ? 0 : ByteCount.parseRate(text) else { return .wrong() }
        return .change { $0[keyPath: path] = rate }
      })
  }

  private static func whole(
    _ name: String, _ range: ClosedRange<Int>, takes: String, unit: Unit = .none, _ meaning: String,
    _ path: any Path<Int>
  ) -> Knob {
    Knob(
      name, unit: unit, takes: takes, meaning, value: { .integer(Int64($0[keyPath: path])) },
      parse: { text in
        guard let number = integer(text, unit: unit.rawValue), range.contains(number) else { return .wrong() }
        return .change { $0[keyPath: path] = number }
      })
  }

  private static func percent(
    _ name: String, _ range: ClosedRange<Int>, _ meaning: String, _ path: any Path<Int>
  ) -> Knob {
    whole(name, range, takes: "\(range.lowerBound) to \(range.upperBound) percent", unit: .percent, meaning, path)
  }

  private static func flag(_ name: String, _ meaning: String, _ path: any Path<Bool>) -> Knob {
    Knob(
      name, takes: "on or off", meaning, value: { .bool($0[keyPath: path]) },
      parse: { text in
        switch text {
        case "on", "true", "yes", "1": .change { $0[keyPath: path] = true }
        case "off", "false", "no", "0": .change { $0[keyPath: path] = false }
        default: .wrong()
        }
      })
  }

  // MARK: Values

  private static func integer(_ text: String, unit: String) -> Int? { Int(withoutUnit(text, unit)) }

  /// Digits and a point only: nothing that is infinite, or no number.
  private static func decimal(_ text: String, unit: String) -> Double? {
    let digits = withoutUnit(text, unit)
    guard digits.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }) else { return nil }
    return Double(digits)
  }

  private static func withoutUnit(_ text: String, _ unit: String) -> String {
    guard !unit.isEmpty, text.hasSuffix(unit) else { return text }
    let number = text.dropLast(unit.count)
    return String(number.last == " " ? number.dropLast() : number)
  }

  /// Whole numbers without a point, and others with three places at most.
  private static func number(_ value: Double) -> JSONValue {
    let rounded = (value * 1000).rounded() / 1000
    return Int64(exactly: rounded).map { .integer($0) } ?? .number(rounded)
  }

  private static func cacheSize(_ size: CacheBudget.Size) -> JSONValue {
    switch size {
    case .off: .string("off")
    case .automatic: .string("auto")
    case .bytes(let count): .integer(Int64(clamping: count))
    case .percent(let share): .string("\(number(share).text ?? "")%")
    }
  }
}
