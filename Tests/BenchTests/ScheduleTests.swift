// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Bench

@Suite("What is tried, and in which order") struct ScheduleTests {
  @Test("Every combination once, the baseline first, then what differs from it least")
  func order() {
    let cells = Sample.axes.cells
    #expect(cells.count == 27 && Set(cells).count == 27)
    #expect(cells.first == Cell(codec: "auto", channels: 2, content: "25:45:30"))
    let distances = cells.map { Schedule.distance($0, Sample.axes.baseline) }
    #expect(distances == distances.sorted())
    #expect(cells[1...2].map { $0.codec } == ["none", "zstd:1"])
    #expect(cells[3...4].map { $0.channels } == [1, 4])
    #expect(cells[5...6].map { $0.dirtyRate } == [100, 400])
  }

  @Test("Fewer workers than channels, and running guests of an image, do not exist")
  func impossible() {
    let axes = Axes(
      codecs: ["none"], channels: [1, 4], workers: [0, 2], contents: ["image", "0:0:100"], dirtyRates: [0, 100])
    #expect(!axes.cells.contains { $0.workers == 2 && $0.channels == 4 })
    #expect(!axes.cells.contains { $0.content == "image" && $0.runs })
    #expect(axes.cells.contains { $0.content == "0:0:100" && $0.runs })
    #expect(axes.baseline == Cell(codec: "none", channels: 1, content: "image"))
  }

  @Test("What tells most is repeated before the rest is tried at all")
  func repeats() throws {
    var schedule = Schedule(Sample.axes, guess: 0.1)
    var seen: [Cell] = []
    while let (cell, _) = schedule.next(secondsLeft: 100) {
      seen.append(cell)
      schedule.note(cell, seconds: 0.1)
    }
    #expect(seen.count == 27 * 3 && schedule.skipped.isEmpty)
    #expect(Array(seen[0..<7]) == Array(seen[7..<14]))
    #expect(Schedule.distance(seen[14], Sample.axes.baseline) == 2)
    #expect(Set(seen[0..<34]) == Set(Sample.axes.cells))
    #expect(Dictionary(grouping: seen) { $0 }.values.allSatisfy { $0.count == 3 })
  }

  @Test("The budget is kept: what does not fit is skipped and named once, what fits still goes")
  func budget() throws {
    var schedule = Schedule(Sample.axes, guess: 1)
    var left = 10.0
    var used = 0.0
    while let (cell, limit) = schedule.next(secondsLeft: left) {
      let takes = cell.codec == "zstd:1" ? 3.0 : 0.5
      #expect(limit <= left)
      schedule.note(cell, seconds: takes)
      left -= takes
      used += takes
    }
    #expect(used > 8 && left > -3)
    #expect(!schedule.skipped.isEmpty)
    #expect(Set(schedule.skipped.map { $0.cell }).count == schedule.skipped.count)
  }

  @Test("A guest that does not converge gets no more than a third of the time")
  func limits() throws {
    var schedule = Schedule(
      Axes(codecs: ["none"], channels: [1], workers: [0], contents: ["25:45:30"], dirtyRates: [100]), guess: 4)
    let next = schedule.next(secondsLeft: 30)
    let (cell, limit) = try #require(next)
    #expect(cell.runs && limit == 10)
    schedule.doNotRepeat(cell)
    let after = schedule.next(secondsLeft: 30)
    #expect(after == nil && schedule.skipped.isEmpty)
  }

  @Test("A cell that cannot be tried is named with the reason")
  func dropped() throws {
    var schedule = Schedule(Sample.axes, guess: 0.1)
    for cell in Sample.axes.cells where cell.runs { schedule.drop(cell, "no tracking") }
    while let (cell, _) = schedule.next(secondsLeft: 9) { #expect(!cell.runs) }
    #expect(schedule.skipped.count == 18 && schedule.skipped.allSatisfy { $0.reason == "no tracking" })
  }

  @Test("Lanes as 'send' has them by default", arguments: [("none", 0, 2), ("zstd:1", 0, 8), ("none", 5, 5)])
  func lanes(codec: String, workers: Int, lanes: Int) {
    #expect(Cell(codec: codec, channels: 2, workers: workers, content: "").lanes(cpus: 8) == lanes)
  }
}
