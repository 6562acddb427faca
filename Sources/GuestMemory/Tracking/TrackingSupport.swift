// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import SystemPackage

/// What this kernel lets this process have for tracking writes.
struct TrackingSupport: Sendable, Equatable {
  /// A userfaultfd that serves faults of the kernel as well (`read` into guest memory, KVM): the way to ask for one, and
  /// its features.
  var full: Result<Offer, Errno>
  /// One that serves faults of user code only, which needs no privilege.
  var userOnly: Result<Offer, Errno>
  var hasPagemapScan: Bool
  var pageByteCount: Int

  struct Offer: Sendable, Equatable {
    var access: CInt
    var features: UInt64
  }

  /// Finds out by trying.
  static func probe() -> TrackingSupport {
    var full = offer(HS_UFFD_CALL)
    // The device has permissions of its own.
    if case .failure(.notPermitted) = full, case .success(let offer) = offer(HS_UFFD_DEVICE) { full = .success(offer) }
    return TrackingSupport(
      full: full, userOnly: offer(HS_UFFD_USER_ONLY), hasPagemapScan: HostProbes.pagemapScan,
      pageByteCount: sysconf(CInt(_SC_PAGESIZE)))
  }

  private static func offer(_ access: CInt) -> Result<Offer, Errno> {
    var features: UInt64 = 0
    let descriptor = unsafe hs_uffd_open(access, 0, &features)
    guard descriptor >= 0 else { return .failure(Errno(rawValue: -descriptor)) }
    close(descriptor)
    return .success(Offer(access: access, features: features))
  }

  /// What an asynchronous log can use. No fault is delivered there, so faults of user code will do; a full one is
  /// preferred all the same, as kernels that have it have had it for longer.
  func asynchronous() throws(TrackingRefusal) -> Offer {
    let offer = try checked(full.isSuccess ? full : userOnly)
    guard offer.features & WriteProtectLog.features == WriteProtectLog.features else {
      throw TrackingRefusal(
        missing: "this kernel's userfaultfd has no asynchronous write-protection", remedy: "Linux 6.7 or newer has it")
    }
    guard hasPagemapScan else {
      throw TrackingRefusal(missing: "this kernel has no PAGEMAP_SCAN", remedy: "Linux 6.7 or newer has it")
    }
    return offer
  }

  /// What a synchronous log can use.
  /// - Parameter isShared: for shared memory (a memfd) as well.
  func synchronous(isShared: Bool) throws(TrackingRefusal) -> Offer {
    let offer = try checked(full)
    guard offer.features & HS_UFFD_FEATURE_WP != 0 else {
      throw TrackingRefusal(
        missing: "this kernel's userfaultfd has no write-protection",
        remedy: "Linux 5.7 or newer has it, and Linux 6.7 or newer a faster one")
    }
    guard !isShared || offer.features & HS_UFFD_FEATURE_WP_HUGETLBFS_SHMEM != 0 else {
      throw TrackingRefusal(
        missing: "this kernel's userfaultfd has no write-protection of shared memory",
        remedy: "Linux 5.19 or newer has it, and Linux 6.7 or newer a faster one; or use private memory")
    }
    return offer
  }

  private func checked(_ offer: Result<Offer, Errno>) throws(TrackingRefusal) -> Offer {
    guard pageByteCount == 4096 else {
      throw TrackingRefusal(
        missing: "this kernel's pages have \(pageByteCount) bytes",
        remedy: "a kernel with pages of 4096 bytes is needed")
    }
    switch offer {
    case .success(let offer): return offer
    case .failure(.notPermitted):
      throw TrackingRefusal(
        missing: "userfaultfd is not permitted to this process",
        remedy:
          "run as root or with CAP_SYS_PTRACE, or set the sysctl vm.unprivileged_userfaultfd=1, or give access to "
          + "/dev/userfaultfd; in a container, its seccomp profile must allow userfaultfd")
    case .failure(.noFunction):
      throw TrackingRefusal(missing: "this kernel has no userfaultfd", remedy: "it takes CONFIG_USERFAULTFD")
    case .failure(let errno):
      throw TrackingRefusal(missing: "userfaultfd is refused: \(errno)", remedy: "Linux 6.7 or newer is best")
    }
  }
}

/// Why writes cannot be tracked here.
public struct TrackingRefusal: Error, Equatable, Sendable, CustomStringConvertible {
  /// What is missing.
  public let missing: String
  /// What to do about it.
  public let remedy: String

  public var description: String { "\(missing): \(remedy)" }
}

extension Result {
  fileprivate var isSuccess: Bool { if case .success = self { true } else { false } }
}
