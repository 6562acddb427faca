// SPDX-License-Identifier: Apache-2.0

// The public Swift API: what an embedder needs, and nothing else. The floors below can be used one by one, but only
// what these modules declare public is kept stable.
@_exported public import Convergence
@_exported public import GuestMemory
@_exported public import Lanes
@_exported public import Migration
@_exported public import PageCodecs
@_exported public import PageModel
@_exported public import Transport

@_exported public import struct HostSystem.CPUSet
@_exported public import class HostSystem.ProcessThrottle
@_exported public import enum HostSystem.ThrottleError
@_exported public import enum HostSystem.ThrottleGuardian

/// Facts about this build.
public enum PageFerry {
  /// Semantic version of the engine, the command and the library.
  public static let version = "0.1.0"

  /// What this side calls itself to a peer.
  public static let software = "pageferry/\(version)"
}
