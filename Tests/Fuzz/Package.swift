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
let decoders = [
  "frame", "control", "xbzrle", "lz4", "zstd", "zstd-long", "deflate", "qemu-stream", "qemu-multifd",
  "departing-channel", "relay-messages",
]

let engine: Target.Dependency = .product(name: "PageFerry", package: "pageferry")
let bridge: Target.Dependency = .product(name: "PageFerryQEMU", package: "pageferry")

let package = Package(
  name: "pageferry-fuzz",
  dependencies: [
    .package(name: "pageferry", path: "../.."),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.4.0"),
  ],
  targets: [
    .target(
      name: "FuzzDrivers",
      dependencies: [
        engine, bridge, .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ], swiftSettings: swift),
    .executableTarget(
      name: "seeds", dependencies: [engine], path: "Sources/Seeds",
      swiftSettings: swift),
    .target(name: "KernelSoak", dependencies: [engine]),
    .executableTarget(
      name: "soak", dependencies: ["KernelSoak", engine],
      path: "Sources/Soak", swiftSettings: swift),
  ] + decoders.map { .executableTarget(name: "fuzz-\($0)", dependencies: ["FuzzDrivers"]) },
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
