// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Testing

/// The allocator that libraries are given.
@Suite struct LibraryMemoryTests {
  @Test(
    "A block can be written from end to end, is aligned, and can be given back",
    arguments: [1, 63, 64, 65, 4096, (4 << 20) - 65, (4 << 20) - 64, 4 << 20, 9 << 20])
  func blocks(byteCount: Int) throws {
    let blocks = unsafe try (0..<3).map { _ in unsafe try #require(unsafe hs_allocate(nil, byteCount)) }
    for index in 0..<3 {
      #expect(unsafe Int(bitPattern: blocks[index]) % 64 == 0)
      unsafe blocks[index].initializeMemory(as: UInt8.self, repeating: UInt8(index + 1), count: byteCount)
    }
    for index in 0..<3 {
      let bytes = unsafe UnsafeRawBufferPointer(start: blocks[index], count: byteCount)
      #expect(unsafe bytes.first == UInt8(index + 1) && bytes.last == UInt8(index + 1))
      unsafe hs_release(nil, blocks[index])
    }
  }

  @Test("What cannot be is refused, and nothing can be given back", arguments: [Int.max, -1, -64])
  func refused(byteCount: Int) {
    let block = unsafe hs_allocate(nil, Int(bitPattern: UInt(bitPattern: byteCount)))
    #expect(unsafe block == nil)
    hs_release(nil, nil)
  }
}
