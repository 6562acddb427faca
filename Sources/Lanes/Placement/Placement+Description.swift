// SPDX-License-Identifier: Apache-2.0
import HostSystem

extension Placement {
  /// A line for each kind of thread that is placed alike: `lanes 0-3: node 0, CPUs 0-7`. The same plan has the same lines.
  public var lines: [String] {
    // Numbered as their threads are named: pf-lane-0, pf-send-1, pf-recv-1, pf-decode-1.
    Self.lines("lane", lanes, from: 0) + Self.lines("sender", senders, from: 1)
      + Self.lines("receiver", receivers, from: 1) + Self.lines("decoder", decoders, from: 1)
      + Self.lines("populator", populators, from: 1)
  }

  private static func lines(_ kind: String, _ spots: [Spot], from first: Int) -> [String] {
    var places: [Spot] = []
    for spot in spots where !places.contains(spot) { places.append(spot) }
    return places.map { place in
      let numbers = CPUSet(spots.indices.filter { spots[$0] == place }.map { $0 + first })
      return "\(kind)\(numbers.count == 1 ? "" : "s") \(numbers): \(place)"
    }
  }
}

extension Placement.Spot: CustomStringConvertible {
  /// `node 0, CPUs 0-7, memory of node 0`
  public var description: String {
    let parts = [
      node.map { "node \($0)" }, "CPU\(cpus.count == 1 ? "" : "s") \(cpus)", memoryNode.map { "memory of node \($0)" },
    ]
    return parts.compactMap { $0 }.joined(separator: ", ")
  }
}
