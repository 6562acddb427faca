// swift-tools-version: 6.2
import PackageDescription

// Fuzzing of everything that reads a peer's bytes, and soaks. A package of its own, so that the root package never
// builds it: `scripts/fuzz` and `scripts/soak` build and run it.

let swift: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .strictMemorySafety(),
]

/// One executable per decoder. Their main function is libFuzzer's, so they link only as `scripts/fuzz` builds them.
let decoders = ["frame", "control", "xbzrle", "lz4", "zstd", "zstd-long", "deflate"]

let package = Package(
  name: "pageferry-fuzz",
  dependencies: [.package(name: "pageferry", path: "../..")],
  targets: [
    .target(
      name: "FuzzDrivers", dependencies: [.product(name: "PageFerry", package: "pageferry")], swiftSettings: swift),
    .executableTarget(
      name: "seeds", dependencies: [.product(name: "PageFerry", package: "pageferry")], path: "Sources/Seeds",
      swiftSettings: swift),
    .target(name: "KernelSoak", dependencies: [.product(name: "PageFerry", package: "pageferry")]),
    .executableTarget(
      name: "soak", dependencies: ["KernelSoak", .product(name: "PageFerry", package: "pageferry")],
      path: "Sources/Soak", swiftSettings: swift),
  ] + decoders.map { .executableTarget(name: "fuzz-\($0)", dependencies: ["FuzzDrivers"]) },
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
