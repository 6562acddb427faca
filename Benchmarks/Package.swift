// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

// Benchmarks of the hot paths. A package of its own, so that the root package never builds it: `Benchmarks/check`
// compares instruction counts with a baseline, `Benchmarks/run` prints times.

/// The settings of the root package: a figure is worth something only for code compiled the same way.
let strict = Context.environment["PAGEFERRY_STRICT"] != nil
let swift: [SwiftSetting] =
  [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .strictMemorySafety(),
  ] + (strict ? [.treatAllWarnings(as: .error)] : [])
let c: [CSetting] = strict ? [.treatAllWarnings(as: .error)] : []

let package = Package(
  name: "pageferry-benchmarks",
  dependencies: [
    .package(name: "pageferry", path: ".."),
    .package(url: "https://github.com/apple/swift-system", from: "1.4.0"),
  ],
  targets: [
    .target(name: "CReferences", cSettings: c),
    .executableTarget(
      name: "pageferry-benchmarks",
      dependencies: [
        "CReferences",
        .product(name: "PageFerry", package: "pageferry"),
        .product(name: "SystemPackage", package: "swift-system"),
      ], swiftSettings: swift),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
