// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import PageFerry
import SystemPackage

/// Records what another process writes, for a forecast.
struct ProcessWatch {
  let pid: Int32
  /// The guest's memory, if the operator says so: else the process's large mappings.
  let memory: UInt64?
  let seconds: Double
  let record: String?

  func run() throws -> DirtyTrace {
    let process = try SoftDirtyProcess(pid: pid)
    guard SoftDirtyProcess.isSupported else {
      throw SoftDirtyProcess.Missing(
        "this kernel cannot tell what another process writes: it has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY), and "
          + "userfaultfd works only for memory that the process has registered itself. Give --dirty-rate and "
          + "--working-set instead: QEMU tells the rate (calc-dirty-rate; virsh domdirtyrate-calc), or the guest does")
    }
    let byteCount = (memory ?? process.memoryByteCount) / 4096 * 4096
    let header = DirtyTrace.Header(memoryBytes: byteCount, recordedAt: TraceWriter.now, tool: PageFerry.software)
    var trace = try DirtyTrace(header)
    let writer = try record.map { try TraceWriter($0, header: header) }
    let began = HostClock.now()
    var length = 0
    repeat {
      // Windows of 0.1 to 1.6 s in turns: the bits say what was written since they were cleared, once.
      let from = HostClock.now()
      try process.clear()
      HostClock.sleep(nanoseconds: UInt64(100_000_000 << (length % 5)))
      let window = Double(HostClock.now() - from) / 1e9
      let found = try process.written()
      length += 1
      let limit = trace.memoryPages
      let sample = DirtyTrace.Sample(
        t: Double(HostClock.now() - began) / 1e9,
        windows: [.init(seconds: window, pages: min(limit, found.pages), spans: min(limit, found.spans))])
      try trace.append(sample)
      writer?.write(sample)
    } while Double(HostClock.now() - began) / 1e9 < seconds
    try writer?.check()
    return trace
  }
}

extension SoftDirtyProcess {
  /// What the host lacks.
  struct Missing: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
  }
}
