// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Control
import PageFerry

/// Where a migration can be watched and steered while it runs.
struct ControlOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Make a Unix socket there, for 'pageferry ctl': watch the migration and change it while it runs.",
      valueName: "path"))
  var control: String?

  /// Listens there, if it is wanted; clients wait until it is started.
  func socket() throws -> ControlSocket? {
    guard let control else { return nil }
    do throws(ControlSocketError) {
      return try ControlSocket(path: control, version: PageFerry.version)
    } catch { throw Outcome.exit(MigrationFailure(.cannotListen, error.reason)) }
  }
}

/// What `pageferry ctl` ends with when it did not do what it was asked.
enum ControlExit: Int32, CaseIterable {
  case absent = 50
  case refused = 51
  case broken = 52

  var meaning: String {
    switch self {
    case .absent: "ctl: there is no control socket, nobody listens, or it is somebody else's"
    case .refused: "ctl: the migration refused, and nothing has changed"
    case .broken: "ctl: the connection ended before the answer, or what answers is no control socket"
    }
  }

  init(_ error: ControlClientError) {
    switch error {
    case .absent: self = .absent
    case .refused: self = .refused
    case .broken: self = .broken
    }
  }
}
