// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target: the upcoming features that the language will make the default,
/// and every unsafe expression marked. Our own warnings are errors when `PAGEFERRY_STRICT` is set (CI).
let strict = Context.environment["PAGEFERRY_STRICT"] != nil
let swift: [SwiftSetting] =
  [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .strictMemorySafety(),
  ] + (strict ? [.treatAllWarnings(as: .error)] : [])
let c: [CSetting] = strict ? [.treatAllWarnings(as: .error)] : []

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

let package = Package(
  name: "pageferry",
  products: [
    .executable(name: "pageferry", targets: ["PageFerryCLI"]),
    .library(name: "PageFerry", targets: ["PageFerry"]),
    .library(name: "PageFerryTelemetry", targets: ["Telemetry"]),
    .library(name: "PageFerryQEMU", targets: ["QEMUBridge"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.7.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.4.0"),
  ],
  targets: [
    // Libraries of the system, by pkg-config.
    .systemLibrary(
      name: "CLZ4", path: "CSupport/Libraries/CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(
      name: "CZstd", path: "CSupport/Libraries/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
      name: "CZlib", path: "CSupport/Libraries/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(
      name: "CXXHash", path: "CSupport/Libraries/CXXHash", pkgConfig: "libxxhash",
      providers: [.apt(["libxxhash-dev"])]),
    .systemLibrary(
      name: "CNUMA", path: "CSupport/Libraries/CNUMA", pkgConfig: "numa", providers: [.apt(["libnuma-dev"])]),

    // Floor 0
    .target(name: "CPageKernels", dependencies: ["CXXHash"], path: "CSupport/PageKernels", cSettings: c),
    .target(name: "CDeflateEngines", dependencies: ["CZlib"], path: "CSupport/Deflate", cSettings: c),
    .target(name: "CHostSystem", path: "CSupport/System", cSettings: c),
    .target(name: "PageModel", swiftSettings: swift),
    .target(name: "PageKernels", dependencies: ["CPageKernels"], swiftSettings: swift),
    .target(name: "HostSystem", dependencies: ["CHostSystem", system], swiftSettings: swift),

    // Floor 1
    .target(
      name: "PageCodecs", dependencies: ["CLZ4", "CZstd", "CDeflateEngines", "CHostSystem"], swiftSettings: swift),
    .target(
      name: "GuestMemory", dependencies: ["PageModel", "PageKernels", "HostSystem", "CHostSystem", system],
      swiftSettings: swift),
    .target(name: "Wire", dependencies: ["PageModel", "PageKernels"], swiftSettings: swift),
    .target(name: "Convergence", dependencies: ["PageModel"], swiftSettings: swift),

    // Floor 2
    .target(name: "Transport", dependencies: ["HostSystem", "CHostSystem", system], swiftSettings: swift),
    .target(
      name: "Workload", dependencies: ["PageModel", "PageKernels", "HostSystem", "GuestMemory"], swiftSettings: swift),

    // Floor 3
    .target(
      name: "Lanes",
      dependencies: ["PageModel", "PageKernels", "HostSystem", "PageCodecs", "GuestMemory", "Wire", "Transport"],
      swiftSettings: swift),

    // Floor 4
    .target(
      name: "Migration",
      dependencies: [
        "PageModel", "PageKernels", "HostSystem", "PageCodecs", "GuestMemory", "Wire", "Transport", "Lanes",
        "Convergence", system,
        .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: swift),

    // Floor 5
    .target(
      name: "PageFerry",
      dependencies: [
        "PageModel", "HostSystem", "PageCodecs", "GuestMemory", "Transport", "Lanes", "Convergence", "Migration",
      ], swiftSettings: swift),

    .target(
      name: "Control",
      dependencies: [
        "Migration", "Convergence", "Lanes", "PageCodecs", "HostSystem", "CHostSystem", "PageModel", system,
      ], swiftSettings: swift),

    .target(
      name: "QEMUBridge",
      dependencies: [
        "Migration", "Lanes", "Wire", "Transport", "GuestMemory", "PageCodecs", "PageKernels", "HostSystem",
        "CHostSystem",
        "PageModel", system, .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: swift),

    .target(
      name: "Bench",
      dependencies: [
        "Migration", "Lanes", "Workload", "Transport", "GuestMemory", "PageCodecs", "PageKernels", "HostSystem",
        "PageModel", system, .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: swift),

    .target(
      name: "Telemetry",
      dependencies: [
        "Migration", "Convergence", "PageCodecs", "Transport", "HostSystem", "PageModel", system,
        .product(name: "CoreMetrics", package: "swift-metrics"), .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
      ], swiftSettings: swift),

    // Floor 6
    .executableTarget(
      name: "PageFerryCLI",
      dependencies: [
        "PageFerry", "Bench", "Control", "QEMUBridge", "Telemetry", "Workload", "Migration", "Convergence",
        "GuestMemory", "Lanes",
        "PageKernels", "HostSystem", "PageCodecs", "PageModel", system,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: swift),

    // Tests: one folder per module.
    .target(
      name: "TestSupport", dependencies: ["PageModel", "HostSystem", system], path: "Tests/TestSupport",
      swiftSettings: swift),
    .testTarget(
      name: "HostSystemTests", dependencies: ["CHostSystem", "HostSystem", "CNUMA", "TestSupport"], swiftSettings: swift
    ),
    .testTarget(
      name: "PageModelTests", dependencies: ["CHostSystem", "PageModel", "TestSupport"], swiftSettings: swift),
    .testTarget(name: "PageKernelsTests", dependencies: ["PageKernels", "TestSupport"], swiftSettings: swift),
    .testTarget(name: "PageCodecsTests", dependencies: ["PageCodecs", "TestSupport"], swiftSettings: swift),
    .testTarget(
      name: "GuestMemoryTests",
      dependencies: ["GuestMemory", "PageModel", "PageKernels", "HostSystem", "TestSupport", system],
      swiftSettings: swift),
    .testTarget(
      name: "ConvergenceTests", dependencies: ["Convergence", "PageModel", "TestSupport"], swiftSettings: swift),
    .testTarget(
      name: "WireTests", dependencies: ["Wire", "PageModel", "PageKernels", "TestSupport"], swiftSettings: swift),
    .testTarget(
      name: "TransportTests", dependencies: ["Transport", "HostSystem", "CHostSystem", "TestSupport"],
      swiftSettings: swift),
    .testTarget(
      name: "WorkloadTests",
      dependencies: ["Workload", "GuestMemory", "PageModel", "PageKernels", "PageCodecs", "HostSystem", "TestSupport"],
      swiftSettings: swift),
    .testTarget(
      name: "LanesTests",
      dependencies: [
        "Lanes", "Wire", "Transport", "GuestMemory", "PageModel", "PageCodecs", "PageKernels", "HostSystem",
        "TestSupport", system,
      ], swiftSettings: swift),
    .testTarget(
      name: "MigrationTests",
      dependencies: [
        "Migration", "Convergence", "Workload", "Lanes", "Wire", "Transport", "GuestMemory", "PageModel", "PageCodecs",
        "PageKernels", "HostSystem", "TestSupport", .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: swift),
    .testTarget(
      name: "ControlTests",
      dependencies: [
        "Control", "Migration", "Convergence", "Workload", "Lanes", "Transport", "GuestMemory", "PageModel",
        "PageCodecs", "HostSystem", "TestSupport", system, .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: swift),
    .testTarget(
      name: "QEMUBridgeTests",
      dependencies: [
        "QEMUBridge", "Control", "Migration", "Lanes", "Wire", "Transport", "GuestMemory", "PageKernels", "PageCodecs",
        "PageModel",
        "HostSystem", "TestSupport", system, .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: swift),
    .testTarget(
      name: "BenchTests",
      dependencies: [
        "Bench", "Migration", "Workload", "Transport", "GuestMemory", "HostSystem", "PageModel", "TestSupport",
      ], swiftSettings: swift),
    .testTarget(
      name: "TelemetryTests",
      dependencies: [
        "Telemetry", "Migration", "Convergence", "Transport", "GuestMemory", "PageCodecs", "PageModel", "HostSystem",
        "TestSupport", system, .product(name: "CoreMetrics", package: "swift-metrics"),
      ], swiftSettings: swift),
    .testTarget(
      name: "CommandTests",
      dependencies: ["PageFerryCLI", "PageFerry", "HostSystem", "GuestMemory", "Transport", "TestSupport"],
      swiftSettings: swift),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)
