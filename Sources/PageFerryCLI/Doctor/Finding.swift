// SPDX-License-Identifier: Apache-2.0

/// One thing that `doctor` looked at.
struct Finding: Codable {
  enum State: String, Codable {
    case good
    /// Works, but could be better, or is worth knowing.
    case note
    /// Something that PageFerry can use is not there.
    case missing
  }

  let area: String
  let name: String
  let state: State
  let value: String
  /// What to do about it, if anything.
  let advice: String?

  init(_ area: String, _ name: String, _ state: State = .good, _ value: String, advice: String? = nil) {
    self.area = area
    self.name = name
    self.state = state
    self.value = value
    self.advice = advice
  }
}
