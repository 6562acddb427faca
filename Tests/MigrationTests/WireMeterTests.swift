// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Migration

@Suite("What the link carries")
struct WireMeterTests {
  /// A meter, and what it was told last.
  private struct Fed {
    var meter = WireMeter()
    private var reading = WireMeter.Reading(at: 1_000_000_000, bytes: 0, busy: 0)

    init() { meter.note(reading) }

    /// Steps of 100 ms, in which `bytes` arrive and the link is busy for `busy` ms.
    mutating func feed(_ steps: Int, bytes: UInt64, busy: UInt64) {
      for _ in 0..<steps {
        reading.at += 100_000_000
        reading.bytes += bytes
        reading.busy = (reading.busy ?? 0) + busy * 1_000_000
        meter.note(reading)
      }
    }
  }

  @Test("Time in which the link was idle does not count")
  func idle() throws {
    var fed = Fed()
    fed.feed(20, bytes: 10_000_000, busy: 100)
    fed.feed(50, bytes: 0, busy: 0)
    fed.feed(20, bytes: 5_000_000, busy: 50)
    let rate = try #require(fed.meter.rate)
    #expect((99e6...101e6).contains(rate), "\(rate)")
  }

  @Test("A link that has become slower is known within seconds")
  func slower() throws {
    var fed = Fed()
    fed.feed(20, bytes: 10_000_000, busy: 100)
    fed.feed(40, bytes: 1_000_000, busy: 100)
    let rate = try #require(fed.meter.rate)
    #expect((10e6...13e6).contains(rate), "\(rate)")
  }

  @Test("A peer that acknowledges nothing for an hour leaves a number to divide by")
  func stalled() throws {
    var fed = Fed()
    fed.feed(20, bytes: 10_000_000, busy: 100)
    fed.feed(36_000, bytes: 0, busy: 100)
    let rate = try #require(fed.meter.rate)
    #expect((1...10_000).contains(rate), "\(rate)")
  }

  @Test("A peer that takes back what it has acknowledged changes nothing")
  func backwards() throws {
    var fed = Fed()
    fed.feed(20, bytes: 10_000_000, busy: 100)
    let before = fed.meter.rate
    fed.meter.note(.init(at: 10_000_000_000, bytes: 5, busy: 9_000_000_000))
    #expect(fed.meter.rate == before)
  }
}
