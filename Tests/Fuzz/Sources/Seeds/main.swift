// SPDX-License-Identifier: Apache-2.0
import Glibc

// Writes the seed corpus: `seeds DIRECTORY` makes DIRECTORY/<decoder>/<name>.bin. The same bytes every time.

guard CommandLine.arguments.count == 2 else {
  print("usage: seeds DIRECTORY")
  exit(64)
}
do {
  for seed in frameSeeds() + controlSeeds() + (try codecSeeds()) + deltaSeeds() + streamSeeds()
    + multifdSeeds() + channelSeeds() + (try relaySeeds())
  {
    try write(seed.bytes, to: "\(CommandLine.arguments[1])/\(seed.decoder)", name: seed.name)
  }
} catch {
  print("seeds: \(error)")
  exit(1)
}
