// SPDX-License-Identifier: Apache-2.0
import PageKernels

/// What of a guest is not memory, as bytes: the plan, and what each writer thread knows.
///
/// All numbers are little-endian. Magic and version, 8 bytes; the plan and the guest's size; the clock; a record of 48
/// bytes for each thread; XXH3-64 of all before. At most 3168 bytes.
struct WorkloadState: Equatable {
  var plan: WorkloadPlan
  var guestByteCount: UInt64
  /// Which clock the records' times are of: see ``BootIdentity``.
  var clock: UInt64
  var records: [WriterRecord]

  private static let magic: UInt64 = 0x4757_4650  // "PFWG"
  private static let version: UInt64 = 1
  private static let headByteCount = 12 * 8
  private static let recordByteCount = 6 * 8

  func encoded() -> [UInt8] {
    var bytes = StateBytes()
    bytes.append(Self.magic | Self.version << 32)
    for number in planNumbers { bytes.append(number) }
    bytes.append(guestByteCount)
    bytes.append(clock)
    for record in records {
      for number in [
        record.random, record.position, record.writes, record.sum, record.runNanoseconds, record.lastWrite,
      ] { bytes.append(number) }
    }
    bytes.append(PageHash.checksum(bytes.bytes))
    return bytes.bytes
  }

  /// Reads bytes that may be anything, for a guest of a given size.
  /// - Throws: ``WorkloadError`` unless they are the state of a guest that can run here. Its memory may still differ.
  init(decoding bytes: [UInt8], guestByteCount: UInt64) throws(WorkloadError) {
    let least = Self.headByteCount + 8
    guard bytes.count >= 8 else { throw .stateCutShort(found: bytes.count, expected: least) }
    var reader = StateBytes(bytes)
    let opening = reader.next()
    guard opening & 0xffff_ffff == Self.magic else { throw .notAState }
    guard opening >> 32 == Self.version else {
      throw .stateVersion(found: Int(opening >> 32), supported: Int(Self.version))
    }
    guard bytes.count >= least else { throw .stateCutShort(found: bytes.count, expected: least) }
    var numbers: [UInt64] = []
    for _ in 0..<9 { numbers.append(reader.next()) }
    self.guestByteCount = reader.next()
    clock = reader.next()
    guard self.guestByteCount == guestByteCount else {
      throw .stateOfOtherGuest(found: self.guestByteCount, expected: guestByteCount)
    }
    plan = try Self.plan(numbers)
    // Checked before anything is sized by it: the plan bounds the number of threads.
    try plan.check(guestByteCount: guestByteCount)
    let expected = least + plan.writerCount * Self.recordByteCount
    guard bytes.count >= expected else { throw .stateCutShort(found: bytes.count, expected: expected) }
    guard bytes.count == expected else { throw .stateTooLong(found: bytes.count, expected: expected) }
    let pageCount = plan.workingPages(guestByteCount: guestByteCount).count
    records = []
    for thread in 0..<plan.writerCount {
      var record = WriterRecord(random: reader.next())
      record.position = reader.next()
      record.writes = reader.next()
      record.sum = reader.next()
      record.runNanoseconds = reader.next()
      record.lastWrite = reader.next()
      let own = PageOrder.ownPageCount(pageCount, thread: thread, threadCount: plan.writerCount)
      guard record.position <= UInt64(own) else {
        throw .badPosition(thread: thread, found: record.position, allowed: own)
      }
      records.append(record)
    }
    guard reader.next() == PageHash.checksum(Array(bytes.dropLast(8))) else { throw .stateDamaged }
  }

  init(plan: WorkloadPlan, guestByteCount: UInt64, clock: UInt64, records: [WriterRecord]) {
    self.plan = plan
    self.guestByteCount = guestByteCount
    self.clock = clock
    self.records = records
  }
}

extension WorkloadState {
  /// The plan as nine numbers.
  private var planNumbers: [UInt64] {
    let (kind, seconds): (UInt64, Int) =
      switch plan.pattern {
      case .idle: (0, 0)
      case .sparse: (1, 0)
      case .pages: (2, 0)
      case .sequential: (3, 0)
      case .hot: (4, 0)
      case .growing(let seconds): (5, seconds)
      }
    return [
      kind, UInt64(seconds), plan.megabytesPerSecond.bitPattern, plan.workingSetOffset, plan.workingSetByteCount,
      UInt64(plan.threadCount), plan.seed,
      UInt64(plan.mix.zero) | UInt64(plan.mix.text) << 8
        | UInt64(plan.mix.random) << 16, UInt64(plan.compressibility),
    ]
  }

  private static func plan(_ numbers: [UInt64]) throws(WorkloadError) -> WorkloadPlan {
    let seconds = Int(clamping: numbers[1])
    let simple: [WorkloadPattern] = [.idle, .sparse, .pages, .sequential, .hot]
    let pattern: WorkloadPattern
    switch numbers[0] {
    case 5: pattern = .growing(seconds: seconds)
    case 0..<5 where seconds == 0: pattern = simple[Int(numbers[0])]
    default: throw .unknownPattern(found: "\(numbers[0]):\(seconds)")
    }
    let mix = numbers[7]
    guard mix >> 24 == 0 else { throw .badMix(found: "\(mix)") }
    return WorkloadPlan(
      pattern: pattern, megabytesPerSecond: Double(bitPattern: numbers[2]), workingSetOffset: numbers[3],
      workingSetByteCount: numbers[4], threadCount: Int(clamping: numbers[5]), seed: numbers[6],
      mix: ContentMix(zero: Int(mix & 0xff), text: Int(mix >> 8 & 0xff), random: Int(mix >> 16)),
      compressibility: Int(clamping: numbers[8]))
  }
}

/// Numbers of 8 bytes, one after another.
private struct StateBytes {
  private(set) var bytes: [UInt8]
  private var offset = 0

  init(_ bytes: [UInt8] = []) { self.bytes = bytes }

  mutating func append(_ number: UInt64) {
    for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
  }

  /// The next number; the caller has looked that there is one.
  mutating func next() -> UInt64 {
    precondition(offset + 8 <= bytes.count, "a number is read only where the length was checked")
    defer { offset += 8 }
    return bytes[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
