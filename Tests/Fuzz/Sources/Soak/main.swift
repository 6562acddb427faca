// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageKernels

// Page pairs through all tiers of the delta kernels until there are enough of them: `scripts/soak kernels`.

guard let options = Options(CommandLine.arguments.dropFirst()) else {
  print("usage: soak kernels [--pairs N] [--seconds N] [--seed N] [--output DIRECTORY]")
  exit(64)
}
let tiers = KernelTier.available
print("seed \(options.seed); tiers: \(tiers.map(\.description).joined(separator: ", "))")
fflush(nil)
let run = KernelRun(options)
if let mismatch = run.run() {
  print(mismatch.description)
  do {
    for (name, page) in [("base", mismatch.base), ("page", mismatch.page)] {
      print("pages: \(try write(page, to: options.output, name: "kernels-\(name)"))")
    }
  } catch { print("the pages could not be written: \(error)") }
  exit(1)
}
print("\(run.pairCount) pairs, \(tiers.count) tiers: identical")
