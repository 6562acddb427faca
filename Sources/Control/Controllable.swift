// SPDX-License-Identifier: Apache-2.0
public import Migration

/// What can be watched and steered through a control socket. All of it is called on the socket's thread, and must not
/// wait for the migration.
public protocol Controllable: AnyObject, Sendable {
  /// Where the migration stands.
  var statistics: MigrationStatistics { get }
  /// What holds now.
  var settings: MigrationSettings { get }
  /// Changes settings, all of them or none.
  /// - Throws: if one of them cannot be had; one line says why.
  func change(_ body: (inout MigrationSettings) -> Void) throws(SettingError)
  /// Tells the migration what to do.
  /// - Throws: if it makes no sense now; one line says why.
  func order(_ order: MigrationOrder) throws(SettingError)
  /// Asks the migration to end; too late once the destination has the guest.
  func cancel(_ reason: String)
}

extension SourceSession: Controllable {}
