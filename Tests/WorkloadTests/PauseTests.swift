// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import HostSystem
import Testing
import Workload

@Suite("Pausing an embedded guest")
struct PauseTests {
  @Test("Nothing is written while a guest is paused, and it goes on afterwards", arguments: writingPatterns, [0, 20])
  func pauseAndResume(pattern: WorkloadPattern, rate: Int) throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest.begun(.small(pattern, rate: Double(rate), seed: 21), memory, writes: 100)
    for round in 0..<3 {
      let before = memory.bytes
      let writes = guest.statistics.writes
      usleep(3000)
      #expect(memory.bytes == before, "round \(round)")
      #expect(guest.statistics.writes == writes, "round \(round)")
      try guest.run(untilWrites: 100)
      #expect(memory.bytes != before, "round \(round)")
    }
    #expect(try guest.verify(everything: true).isSound)
  }

  @Test("A guest that is paused and resumed in quick succession is paused each time", arguments: [1, 4])
  func quickSuccession(threads: Int) throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest.begun(.small(.sparse, threads: threads, seed: 22), memory, writes: 100)
    for round in 0..<300 {
      try guest.resume()
      try guest.pause()
      // A thread that still ran would make the totals differ from memory sooner or later.
      if round.isMultiple(of: 30) {
        let result = try guest.verify(everything: false)
        #expect(result.isSound, "round \(round): \(result)")
      }
    }
  }

  @Test("A writer that sleeps is woken to be paused")
  func sleeping() throws {
    let memory = try TestMemory()
    // One page in 100 s: the writer sleeps for a second at a time.
    let guest = try WorkloadGuest(.small(.sparse, rate: 0.00004096, seed: 23), memory: memory.memory)
    guest.fill()
    guest.start()
    usleep(20_000)
    let start = HostClock.now()
    try guest.pause()
    #expect(HostClock.now() - start < 500_000_000)
    try guest.resume()
    guest.throttle(percent: 99)
    usleep(20_000)
    guest.stop()
    #expect(HostClock.now() - start < 900_000_000)
  }

  @Test("Calls that come out of order are refused or do nothing")
  func order() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest(.small(.pages, seed: 24), memory: memory.memory)
    try guest.resume()
    guest.fill()
    let before = memory.bytes
    try guest.pause()
    try guest.resume()
    usleep(2000)
    #expect(memory.bytes == before, "a guest that was never started does not run")
    guest.start()
    try guest.resume()
    #expect(throws: GuestError("a guest that runs has no state to save: pause it")) { try guest.saveState() }
    #expect(throws: GuestError("memory that is being written cannot be verified: pause")) {
      try guest.verify(everything: false)
    }
    try guest.pause()
    try guest.pause()
    guest.stop()
    guest.stop()
    try guest.pause()
    #expect(throws: GuestError("the guest was stopped and cannot run on")) { try guest.resume() }
    #expect(try guest.verify(everything: true).isSound)
    #expect(try !guest.saveState().isEmpty)
  }

  @Test("A guest that nobody holds stops")
  func dropped() throws {
    let memory = try TestMemory()
    do {
      let guest = try WorkloadGuest(.small(.sparse, seed: 25), memory: memory.memory)
      guest.fill()
      guest.start()
    }
    let before = memory.bytes
    usleep(3000)
    #expect(memory.bytes == before)
  }

  @Test("Calls fail on request, and then have done nothing")
  func failures() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest.begun(.small(.sparse, seed: 26), memory, writes: 10)
    guest.failures = WorkloadFailures(resume: "no way", saveState: "disk is full")
    #expect(throws: GuestError("no way")) { try guest.resume() }
    #expect(throws: GuestError("disk is full")) { try guest.saveState() }
    guest.failures = WorkloadFailures()
    try guest.run(untilWrites: 10)
    try guest.resume()
    guest.failures.pause = "busy"
    #expect(throws: GuestError("busy")) { try guest.pause() }
    let writes = guest.statistics.writes
    while guest.statistics.writes < writes + 10 { usleep(500) }
    guest.failures.pause = nil
    try guest.pause()
    let copy = try TestMemory()
    let arrival = WorkloadArrival(copy.memory)
    arrival.failures = WorkloadFailures(resume: "wrong CPU", loadState: "unknown device")
    #expect(throws: GuestError("unknown device")) { try arrival.loadState(guest.saveState()) }
    arrival.failures.loadState = nil
    try arrival.loadState(guest.saveState())
    #expect(throws: GuestError("wrong CPU")) { try arrival.resume() }
  }
}
