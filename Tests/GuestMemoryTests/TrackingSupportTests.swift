// SPDX-License-Identifier: Apache-2.0
import PageModel
import SystemPackage
import Testing

@testable import GuestMemory

@Suite("What kernels let one track writes with")
struct TrackingSupportTests {
  private static func offer(_ features: UInt64) -> Result<TrackingSupport.Offer, Errno> {
    .success(.init(access: 0, features: features))
  }
  private static let modern = offer(0x1ffff)
  /// Linux 6.1's.
  private static let older = offer(0x1fff)
  private static let refused: Result<TrackingSupport.Offer, Errno> = .failure(.notPermitted)

  private static func choose(
    _ kind: DirtyTracking.Kind, full: Result<TrackingSupport.Offer, Errno>,
    userOnly: Result<TrackingSupport.Offer, Errno>, scan: Bool = true, pageByteCount: Int = 4096, isShared: Bool = false
  ) throws(TrackingRefusal) -> DirtyTracking.Choice {
    try DirtyTracking.choose(
      kind,
      TrackingSupport(full: full, userOnly: userOnly, hasPagemapScan: scan, pageByteCount: pageByteCount),
      isShared: isShared)
  }

  @Test("The best kind that the kernel has is chosen")
  func choice() throws {
    let (new, old) = (
      TrackingSupport.Offer(access: 0, features: 0x1ffff), TrackingSupport.Offer(access: 0, features: 0x1fff)
    )
    let modern = Self.modern
    #expect(try Self.choose(.automatic, full: modern, userOnly: modern) == .asynchronous(new))
    #expect(try Self.choose(.automatic, full: Self.refused, userOnly: modern) == .asynchronous(new))
    #expect(try Self.choose(.automatic, full: Self.older, userOnly: Self.older) == .synchronous(old))
    #expect(try Self.choose(.automatic, full: modern, userOnly: modern, scan: false) == .synchronous(new))
    #expect(try Self.choose(.synchronous, full: modern, userOnly: modern) == .synchronous(new))
  }

  @Test("A refusal says what is missing and what to do")
  func refusals() {
    func refusal(
      _ kind: DirtyTracking.Kind, full: Result<TrackingSupport.Offer, Errno>,
      userOnly: Result<TrackingSupport.Offer, Errno>, scan: Bool = true, page: Int = 4096, isShared: Bool = false
    ) -> String {
      do throws(TrackingRefusal) {
        return
          "\(try Self.choose(kind, full: full, userOnly: userOnly, scan: scan, pageByteCount: page, isShared: isShared))"
      } catch {
        return GuestMemoryError.trackingUnavailable(reason: error.description).description
      }
    }
    let permission =
      "writes to guest memory cannot be tracked here: userfaultfd is not permitted to this process: run as root or with "
      + "CAP_SYS_PTRACE, or set the sysctl vm.unprivileged_userfaultfd=1, or give access to /dev/userfaultfd; in a "
      + "container, its seccomp profile must allow userfaultfd"
    #expect(refusal(.automatic, full: Self.refused, userOnly: Self.refused) == permission)
    // A fault of the kernel itself must be served, or `read` into guest memory fails: no privilege, no such log.
    #expect(refusal(.automatic, full: Self.refused, userOnly: Self.older) == permission)
    #expect(refusal(.synchronous, full: Self.refused, userOnly: Self.modern) == permission)
    for (found, words) in [
      (refusal(.asynchronous, full: Self.older, userOnly: Self.older), ["asynchronous write-protection", "Linux 6.7"]),
      (refusal(.asynchronous, full: Self.modern, userOnly: Self.modern, scan: false), ["PAGEMAP_SCAN", "Linux 6.7"]),
      (refusal(.automatic, full: Self.offer(0x1fe), userOnly: Self.offer(0x1fe)), ["write-protection", "Linux 5.7"]),
      (
        refusal(.automatic, full: Self.offer(0xfff), userOnly: Self.offer(0xfff), isShared: true),
        ["shared memory", "Linux 5.19"]
      ),
      (refusal(.automatic, full: Self.modern, userOnly: Self.modern, page: 65536), ["65536 bytes"]),
      (
        refusal(.automatic, full: .failure(.noFunction), userOnly: .failure(.noFunction)),
        ["no userfaultfd", "CONFIG_USERFAULTFD"]
      ),
    ] {
      for word in words { #expect(found.contains(word)) }
    }
  }

  @Test("Memory of hugetlbfs is refused: its writes are noted per huge page")
  func hugePages() throws {
    let table = try BlockTable([
      RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 2 << 20, hostPageByteCount: 2 << 20)
    ])
    let memory = try AnonymousMemory(blocks: table, populateAhead: false)
    #expect(
      throws: GuestMemoryError.trackingUnavailable(
        reason:
          "RAM block 'ram' has host pages of 2.00 MiB, and the kernel notes writes per host page: use 4 KiB pages "
          + "(transparent huge pages are)")
    ) { try DirtyTracking.log(for: memory) }
  }
}
