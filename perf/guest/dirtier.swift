// SPDX-License-Identifier: Apache-2.0
// The only program of the guest that `build-live` makes, and its process 1: rewrites memory at a rate, and checks every page
// against what it wrote there before, so that a page that a migration has lost or mixed up is seen by the guest itself.
//
// The kernel hands it the words `name=number` of its command line as environment:
//   working  MiB that are rewritten over and over (16)
//   still    MiB that are filled once and only checked (0)
//   rate     pages a second; 0: as many as it can (0)
//   sparse   1: of each page only a few words change, and all of it is checked every 16th time only: an emulated CPU can
//            rewrite several hundred MB a second so (0)
// After each pass over the working set it says on the console
//   guest: pass 12 checked 49152 bad=0
import Glibc

/// What a page is like, and what a rewrite does to it. Of 16 pages: 7, 3, 2, 2, 2.
enum Kind {
  /// A few words change: counters, pointers, timestamps.
  case touched
  /// Quite another text.
  case rewritten
  /// Quite other bytes that no codec makes shorter.
  case random
  /// Zero and not zero in turns.
  case freed
  /// Never written again.
  case still

  init(_ page: Int) {
    switch page & 15 {
    case 0..<7: self = .touched
    case 7..<10: self = .rewritten
    case 10, 11: self = .random
    case 12, 13: self = .freed
    default: self = .still
    }
  }
}

func mixed(_ value: UInt64) -> UInt64 {
  var bits = value &* 0x9E37_79B9_7F4A_7C15
  bits ^= bits >> 29
  bits = bits &* 0xBF58_476D_1CE4_E5B9
  return bits ^ bits >> 32
}

/// Eight bytes of a page, as they are after `generation` rewrites.
@inline(__always)
func word(_ kind: Kind, _ page: Int, _ index: Int, _ generation: UInt32) -> UInt64 {
  let place = UInt64(page) << 9 | UInt64(index)
  switch kind {
  case .touched: return text(place, index & 127 == 5 ? generation : 0)
  case .rewritten: return text(place, generation)
  case .random: return mixed(place ^ UInt64(generation) << 40)
  case .freed: return generation & 1 == 1 ? 0 : text(place, generation)
  case .still: return text(place, 0)
  }
}

/// As much in it as in a server's memory: one of 256 words, and four bytes that are not repeated, in turns.
@inline(__always)
func text(_ place: UInt64, _ generation: UInt32) -> UInt64 {
  let bits = mixed(place ^ UInt64(generation) << 40)
  return place & 1 == 0 ? mixed(bits >> 56) : bits >> 32
}

func option(_ name: String, _ otherwise: Int) -> Int {
  guard let value = unsafe getenv(name) else { return otherwise }
  return unsafe Int(String(cString: value)) ?? otherwise
}

func say(_ line: String) {
  var line = Array((line + "\n").utf8)
  _ = unsafe write(1, &line, line.count)
}

/// Pages, and how often each was rewritten. They are there as long as the guest.
@safe struct Memory {
  let words: UnsafeMutablePointer<UInt64>
  let generations: UnsafeMutablePointer<UInt32>
  let pageCount: Int

  init(pageCount: Int) {
    self.pageCount = pageCount
    unsafe words = UnsafeMutableRawPointer.allocate(byteCount: max(1, pageCount) * 4096, alignment: 4096)
      .bindMemory(to: UInt64.self, capacity: pageCount * 512)
    unsafe generations = .allocate(capacity: max(1, pageCount))
    unsafe generations.initialize(repeating: 0, count: pageCount)
  }

  func fill(_ page: Int, _ kind: Kind) {
    for index in 0..<512 { unsafe words[page * 512 + index] = word(kind, page, index, generations[page]) }
  }

  func isSound(_ page: Int, _ kind: Kind) -> Bool {
    var differences: UInt64 = 0
    for index in 0..<512 {
      unsafe differences |= words[page * 512 + index] ^ word(kind, page, index, generations[page])
    }
    return differences == 0
  }

  /// Whether the words that change are as they should be.
  func isSoundWhereTouched(_ page: Int) -> Bool {
    var differences: UInt64 = 0
    for index in stride(from: 5, to: 512, by: 128) {
      unsafe differences |= words[page * 512 + index] ^ word(.touched, page, index, generations[page])
    }
    return differences == 0
  }

  func rewrite(_ page: Int, _ kind: Kind) {
    if kind == .still { return }
    unsafe generations[page] &+= 1
    guard kind == .touched else { return fill(page, kind) }
    for index in stride(from: 5, to: 512, by: 128) {
      unsafe words[page * 512 + index] = word(kind, page, index, generations[page])
    }
  }
}

func now() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

func sleep(until moment: UInt64) {
  var time = timespec(tv_sec: Int(moment / 1_000_000_000), tv_nsec: Int(moment % 1_000_000_000))
  unsafe clock_nanosleep(CLOCK_MONOTONIC, CInt(TIMER_ABSTIME), &time, nil)
}

say("guest: started")
let rate = option("rate", 0)
let isSparse = option("sparse", 0) == 1
func kind(_ page: Int) -> Kind { isSparse ? .touched : Kind(page) }
let working = Memory(pageCount: option("working", 16) * 256)
let still = Memory(pageCount: option("still", 0) * 256)
for page in 0..<working.pageCount { working.fill(page, kind(page)) }
for page in 0..<still.pageCount { still.fill(page, .still) }
say("guest: ready")

/// Pages between two looks at the clock, and those of the still ones that are checked meanwhile.
let batch = 32
var (checked, bad, pass, stillPage) = (0, 0, 0, 0)
var next = now()
while true {
  for first in stride(from: 0, to: working.pageCount, by: batch) {
    for page in first..<min(working.pageCount, first + batch) {
      let isBrief = isSparse && (page ^ pass) & 15 != 0
      if !(isBrief ? working.isSoundWhereTouched(page) : working.isSound(page, kind(page))) { bad += 1 }
      working.rewrite(page, kind(page))
      checked += 1
    }
    if still.pageCount > 0 {
      if !still.isSound(stillPage, .still) { bad += 1 }
      stillPage = (stillPage + 1) % still.pageCount
      checked += 1
    }
    guard rate > 0 else { continue }
    // Behind its time (it was stopped, or the CPU is slow), it does not hurry to make up for it.
    next = max(next + UInt64(batch) * 1_000_000_000 / UInt64(rate), now())
    sleep(until: next)
  }
  pass += 1
  say("guest: pass \(pass) checked \(checked) bad=\(bad)")
}
