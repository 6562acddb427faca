// SPDX-License-Identifier: Apache-2.0
import Workload

extension BenchMessage {
  /// Whether every value is one that may be used.
  func check() throws(BenchError) {
    switch self {
    case .ping, .pong, .bye, .attached: break
    case .hello(let introduction), .welcome(let introduction):
      try introduction.host.check()
      if let limit = introduction.memoryLimit {
        try Limits.check("memoryLimit", limit, in: 0...Limits.memory.upperBound)
      }
    case .link(let request):
      try Limits.check("streams", request.streams, in: Limits.streams)
      try Limits.check("seconds", request.seconds, in: Limits.linkSeconds)
    case .host(let request):
      try Limits.check(count: request.codecs.count, of: "codecs", atMost: Limits.codecs)
      for codec in request.codecs { try Limits.check(codec: codec) }
      guard (try? ContentMix(parsing: request.mix)) != nil else {
        throw .outOfRange(field: "mix", found: Printable.text(request.mix), allowed: "zero:text:random")
      }
      try Limits.check(memory: request.memory)
      try Limits.check("seconds", request.seconds, in: Limits.codecSeconds)
    case .cell(let request):
      try Limits.check(memory: request.memory)
      try Limits.check("history", request.history, in: 0...Limits.memory.upperBound)
      try Limits.check("channels", request.channels, in: Limits.channels)
      try Limits.check("lanes", request.lanes, in: Limits.lanes)
      try Limits.check("seconds", request.seconds, in: Limits.cellSeconds)
    case .ready(let ready):
      try Limits.check("port", ready.port, in: 1...65535)
      try Limits.check("bytes of the token", ready.token.utf8.count, in: 0...StreamToken.byteCount)
    case .linked(let receipt):
      try Limits.check("bytes", receipt.bytes, in: 0...(1 << 60))
      try Limits.check(figures: ["seconds": receipt.seconds])
    case .measured(let figures): try figures.check()
    case .received(let figures): try figures.check()
    case .refused: break
    }
  }

  /// The same without what could rewrite a terminal: done once, where a line is taken.
  func printable() -> BenchMessage {
    switch self {
    case .hello(var introduction):
      introduction.host = introduction.host.printable()
      return .hello(introduction)
    case .welcome(var introduction):
      introduction.host = introduction.host.printable()
      return .welcome(introduction)
    case .received(var figures):
      figures.reason = figures.reason.map { Printable.text($0) }
      return .received(figures)
    case .refused(var refusal):
      refusal.reason = Printable.text(refusal.reason)
      return .refused(refusal)
    default: return self
    }
  }
}
