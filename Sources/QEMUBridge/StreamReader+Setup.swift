// SPDX-License-Identifier: Apache-2.0

// What comes a few times in a stream: configuration, commands, the list of blocks.
extension StreamReader {
  /// The configuration, with all its subsections; they have no length, so an unknown one cannot be passed over.
  mutating func nextConfiguration() throws(StreamError) -> StreamElement? {
    var found = StreamConfiguration()
    try need(5, .configuration)
    let nameLength = buffer.load(1, as: UInt32.self)
    guard nameLength <= StreamLimits.machineByteCountMax else {
      throw malformed(
        .tooLong(
          what: "the machine's name", found: UInt64(nameLength), allowed: UInt64(StreamLimits.machineByteCountMax)))
    }
    var at = 5 + Int(nameLength)
    try need(at, .configuration)
    found.machine = text(5..<at)
    while try buffer.fill(at + 1), buffer.load(at, as: UInt8.self) == StreamFormat.Element.subsection {
      guard found.subsections.count < StreamLimits.subsectionCountMax else {
        throw malformed(
          .tooLong(
            what: "subsections of the configuration", found: UInt64(found.subsections.count + 1),
            allowed: UInt64(StreamLimits.subsectionCountMax)))
      }
      at += 1
      let name = try counted(&at, .configuration)
      // The version, which has always been 1.
      try need(at + 4, .configuration)
      at += 4
      guard try readSubsection(name, &at, &found) else { return try turnOpaque(.unknownSubsection(name)) }
      found.subsections.append(name)
    }
    configuration = found
    if let bits = found.pageBits { pageByteCount = 1 << Int(bits) }
    return element(.configuration, at)
  }

  /// - Returns: whether it is known.
  private mutating func readSubsection(
    _ name: String, _ at: inout Int, _ found: inout StreamConfiguration
  ) throws(StreamError) -> Bool {
    switch name {
    case "configuration/target-page-bits":
      try need(at + 4, .configuration)
      let bits = buffer.load(at, as: UInt32.self)
      guard StreamLimits.pageBits.contains(bits) else {
        throw malformed(.badPageBits(found: bits, allowed: StreamLimits.pageBits))
      }
      found.pageBits = bits
      at += 4
    case "configuration/capabilities":
      try need(at + 4, .configuration)
      let count = buffer.load(at, as: UInt32.self)
      guard count <= StreamLimits.capabilityCountMax - found.capabilities.count else {
        throw malformed(
          .tooLong(what: "capabilities", found: UInt64(count), allowed: UInt64(StreamLimits.capabilityCountMax)))
      }
      at += 4
      for _ in 0..<count { found.capabilities.append(try counted(&at, .configuration)) }
    case "configuration/uuid":
      try need(at + 16, .configuration)
      found.uuid = buffer.array(at..<at + 16)
      at += 16
    default: return false
    }
    return true
  }

  /// A text with its length (u8) before it.
  private mutating func counted(_ at: inout Int, _ part: StreamPart) throws(StreamError) -> String {
    try need(at + 1, part)
    let end = at + 1 + Int(buffer.load(at, as: UInt8.self))
    try need(end, part)
    defer { at = end }
    return text(at + 1..<end)
  }

  private func text(_ range: Range<Int>) -> String { String(decoding: buffer.array(range), as: UTF8.self) }

  mutating func nextCommand() throws(StreamError) -> StreamElement? {
    try need(5, .command)
    let number = buffer.load(1, as: UInt16.self)
    let count = Int(buffer.load(3, as: UInt16.self))
    if let expected = Self.commandLength(number, count), expected != count {
      throw malformed(.badCommandLength(command: number, found: count, expected: expected))
    }
    guard number != 0, number <= 11 else { return try turnOpaque(.unknownCommand(number)) }
    try need(5 + count, .command)
    let command = command(number, count)
    if case .packaged(let byteCount) = command { expectPackaged(byteCount) }
    if case .postcopyAdvise(let sizes?) = command { pageSizeSummary = sizes.summary }
    return element(.command(command), 5 + count)
  }

  /// Bytes that a command has; nil where they vary.
  private static func commandLength(_ number: UInt16, _ found: Int) -> Int? {
    switch number {
    case 1, 4, 5, 8, 9, 11: 0
    case 2, 7: 4
    case 3: found == 0 ? 0 : 16
    default: nil
    }
  }

  private func command(_ number: UInt16, _ count: Int) -> StreamCommand {
    switch number {
    case 1: .openReturnPath
    case 2: .ping(buffer.load(5))
    case 3: .postcopyAdvise(count == 0 ? nil : .init(summary: buffer.load(5), target: buffer.load(13)))
    case 4: .postcopyListen
    case 5: .postcopyRun
    case 6: .postcopyDiscard
    case 7: .packaged(byteCount: Int(buffer.load(5, as: UInt32.self)))
    case 8: .enableCOLO
    case 9: .postcopyResume
    case 10: .receiveBitmap
    default: .switchoverStart
    }
  }

  /// The blocks, whose lengths add up to `total`.
  mutating func nextBlockList(total: UInt64) throws(StreamError) -> StreamElement? {
    guard blocks.isEmpty else { throw malformed(.secondBlockList) }
    guard total <= StreamLimits.totalByteCountMax else {
      throw malformed(.tooLong(what: "bytes of RAM", found: total, allowed: StreamLimits.totalByteCountMax))
    }
    let capabilities = configuration?.capabilities ?? []
    if capabilities.contains("mapped-ram") { return try turnOpaque(.capability("mapped-ram")) }
    let hasAddress = capabilities.contains("x-ignore-shared")
    var found: [StreamBlock] = []
    var names = Set<[UInt8]>()
    var left = total
    var at = 8
    while left > 0 {
      guard found.count < StreamLimits.blockCountMax else {
        throw malformed(
          .tooLong(
            what: "RAM blocks", found: UInt64(found.count + 1), allowed: UInt64(StreamLimits.blockCountMax)))
      }
      let block = try nextBlock(&at, left: left, hasAddress: hasAddress)
      guard names.insert(block.nameBytes).inserted else { throw malformed(.duplicateBlock(block.name)) }
      left -= block.byteCount
      found.append(block)
    }
    blocks = found
    blockByteCounts = found.map { $0.byteCount }
    return element(.blockList, at)
  }

  private mutating func nextBlock(
    _ at: inout Int, left: UInt64, hasAddress: Bool
  ) throws(StreamError) -> StreamBlock {
    try need(at + 1, .blockList)
    let nameLength = Int(buffer.load(at, as: UInt8.self))
    guard nameLength > 0 else { throw malformed(.badBlockName(byteCount: 0)) }
    try need(at + 1 + nameLength + 8, .blockList)
    let name = buffer.array(at + 1..<at + 1 + nameLength)
    at += 1 + nameLength
    let length: UInt64 = buffer.load(at)
    at += 8
    guard length > 0, length <= left, length.isMultiple(of: UInt64(pageByteCount)) else {
      throw malformed(
        .badBlockLength(
          block: String(decoding: name, as: UTF8.self), found: length, left: left, pageByteCount: pageByteCount))
    }
    let hostPage = try hostPageByteCount(&at)
    var address: UInt64?
    if hasAddress {
      try need(at + 8, .blockList)
      address = buffer.load(at, as: UInt64.self)
      at += 8
    }
    return StreamBlock(
      nameBytes: name, byteCount: length, hostPageByteCount: hostPage, guestPhysicalAddress: address)
  }

  /// A block's page size, which is there only for blocks whose pages are not the host's: told by its looks. A name's length is
  /// never 0, a page size begins with 0; it is a power of two that `POSTCOPY_ADVISE` has named.
  private mutating func hostPageByteCount(_ at: inout Int) throws(StreamError) -> UInt64? {
    guard let summary = pageSizeSummary, summary > 4096 else { return nil }
    // What follows the list is a record, which has 8 bytes as well.
    try need(at + 8, .blockList)
    let size: UInt64 = buffer.load(at)
    guard size > 4096, size.nonzeroBitCount == 1, size & summary == size, size >> 56 == 0 else { return nil }
    at += 8
    return size
  }
}
