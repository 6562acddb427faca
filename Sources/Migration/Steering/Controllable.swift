// SPDX-License-Identifier: Apache-2.0

/// What can be watched and steered from outside while it moves a guest, by a control socket say. Any thread may call any
/// of it, and none of it waits for the migration.
public protocol Controllable: AnyObject, Sendable {
  /// Where the migration stands.
  var statistics: MigrationStatistics { get }
  /// What holds now.
  var settings: MigrationSettings { get }
  /// Why there is no setting of that name (as docs/CONTROL.md has it) here, and where there is one; nil: there is.
  func absence(ofSetting name: String) -> String?
  /// Changes settings, all of them or none.
  /// - Throws: if one of them cannot be had; one line says why.
  func change(_ body: (inout MigrationSettings) -> Void) throws(SettingError)
  /// Tells the migration what to do.
  /// - Throws: if it makes no sense now; one line says why.
  func order(_ order: MigrationOrder) throws(SettingError)
  /// Asks the migration to end; too late once the destination has the guest.
  func cancel(_ reason: String)
}

extension Controllable {
  public func absence(ofSetting name: String) -> String? { nil }
}

extension SourceSession: Controllable {}
