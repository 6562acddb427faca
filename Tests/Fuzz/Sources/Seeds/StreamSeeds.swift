// SPDX-License-Identifier: Apache-2.0

// QEMU's migration streams, good and bad, with pages of 1 KiB where that does: what is to be found is in between them.

func streamSeeds() -> [Seed] {
  let start: [UInt8] = [1] + be(UInt32(2)) + text("ram") + be(UInt32(0)) + be(UInt32(4))
  let list = be(UInt64(0x3000 | 4)) + text("pc.ram") + be(UInt64(0x2000)) + text("pc.bios") + be(UInt64(0x1000))
  let end = be(UInt64(0x10)) + [0x7e] + be(UInt32(2))
  let small = subsection("configuration/target-page-bits", be(UInt32(10)))
  let shared = subsection("configuration/capabilities", be(UInt32(1)) + text("x-ignore-shared"))
  let page = [UInt8](repeating: 5, count: 1024)
  let last: [UInt8] = [3] + be(UInt32(2))
  let device: [UInt8] = [4] + be(UInt32(3)) + text("timer") + be(UInt32(0)) + be(UInt32(2)) + [1, 2, 3]
  let pages = be(UInt64(8)) + text("pc.ram") + page + be(UInt64(0x428)) + page + be(UInt64(2)) + text("pc.bios") + [0]
  let whole = head(small) + start + list + end + [2] + be(UInt32(2)) + pages + end + last + end + device
  let returning = command(1, []) + command(2, be(UInt32(1)))
  let advise = command(3, be(UInt64(0x20_1000)) + be(UInt64(1024)))
  let delta = be(UInt64(0x40)) + text("pc.ram") + [1] + be(UInt16(4)) + [2, 2, 7, 8]
  let huge = be(UInt64(0x1004)) + text("pc.ram") + be(UInt64(0x1000)) + be(UInt64(0x20_0000))
  let addressed = be(UInt64(0x1004)) + text("pc.ram") + be(UInt64(0x1000)) + be(UInt64(0))
  let stored: [UInt8] = [0x78, 0x9c, 1, 0, 4, 0xff, 0xfb] + page + be(UInt32(0x1058_1401))
  let compressed = be(UInt64(0x100)) + text("pc.ram") + be(UInt32(stored.count)) + stored
  let streams: [(String, [UInt8])] = [
    ("plain", whole),
    ("cut", Array(whole.dropLast(20))),
    ("commands", head([]) + returning + start + list + end + command(11, []) + last + end + device),
    ("delta", head([]) + start + list + delta + end + last + end),
    ("compressed", head(small) + start + list + compressed + end + last + end),
    ("huge-pages", head(small) + advise + start + huge + end + last + end),
    ("addresses", head(shared) + start + addressed + end + last + end),
    ("no-footers", head(small) + start + list + be(UInt64(0x10)) + last + pages + be(UInt64(0x10)) + device),
    ("packaged", head([]) + start + list + end + command(7, be(UInt32(5))) + [1, 2, 3, 4, 5] + last + end + [0, 6]),
    ("flush", head(small) + start + list + be(UInt64(0x200)) + end + last + pages + be(UInt64(0x200)) + end),
    ("unknown-section", head([]) + [1] + be(UInt32(9)) + text("vfio") + be(UInt32(0)) + be(UInt32(1)) + page),
    ("outside", head(small) + start + list + be(UInt64(0x2008)) + text("pc.ram") + page),
  ]
  return streams.map { Seed(decoder: "qemu-stream", name: $0.0, bytes: $0.1) }
}

func multifdSeeds() -> [Seed] {
  let opening =
    be(UInt32(0x1122_3344)) + be(UInt32(1)) + [UInt8](repeating: 3, count: 16) + [1] + [UInt8](repeating: 0, count: 39)
  let page = [UInt8](repeating: 9, count: 4096)
  let channels: [(String, [UInt8])] = [
    ("pages", opening + packet(normal: 1, size: 4096) + page + packet(flags: 1, size: 4096)),
    ("zero-pages", opening + packet(zero: 3)),
    ("zlib", opening + packet(flags: 2, normal: 1, size: 10) + [UInt8](repeating: 1, count: 10)),
    ("too-many", opening + packet(normal: 100, size: 4096, zero: 100) + page),
    ("cut", opening + packet(normal: 1, size: 4096) + page.dropLast()),
  ]
  return channels.map { Seed(decoder: "qemu-multifd", name: $0.0, bytes: $0.1) }
}

private func packet(flags: UInt32 = 0, normal: UInt32 = 0, size: UInt32 = 0, zero: UInt32 = 0) -> [UInt8] {
  let fields = [0x1122_3344, 1, flags, 128, normal, size, 0, 7, zero].flatMap { be($0 as UInt32) }
  let name = Array("pc.ram".utf8) + [UInt8](repeating: 0, count: 250)
  return fields + [UInt8](repeating: 0, count: 28) + name + [UInt8](repeating: 0, count: 1024)
}

/// Header and configuration.
private func head(_ subsections: [UInt8]) -> [UInt8] {
  be(UInt32(0x5145_564d)) + be(UInt32(3)) + [7] + be(UInt32(2)) + Array("pc".utf8) + subsections
}

private func subsection(_ name: String, _ fields: [UInt8]) -> [UInt8] { [5] + text(name) + be(UInt32(1)) + fields }

private func command(_ number: UInt16, _ data: [UInt8]) -> [UInt8] {
  [8] + be(number) + be(UInt16(data.count)) + data
}

private func text(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

func be<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
  stride(from: Value.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> $0) }
}
