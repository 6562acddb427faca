# SPDX-License-Identifier: Apache-2.0
import json, os, subprocess, tempfile, unittest

from here import PERF, result, row
from harness.compare import compare, mismatch


def run_with(ours, peer=(1.0, 1.0, 1.0), **scenario):
    return result([row("pageferry/none", s) for s in ours] + [row("qemu-7/none", s) for s in peer], **scenario)


def verdicts(old, new, tolerance=0.1):
    return {name: found for _, name, _, _, found in compare(old, new, tolerance)}


class Verdicts(unittest.TestCase):
    def test_worse_beyond_tolerance_and_noise(self):
        self.assertEqual(verdicts(run_with((0.5, 0.51, 0.52)), run_with((0.7, 0.71, 0.72)))["seconds"], "worse")

    def test_ranges_that_overlap_are_noise(self):
        self.assertEqual(verdicts(run_with((0.5, 0.51, 0.75)), run_with((0.7, 0.71, 0.72)))["seconds"], "within noise")

    def test_within_tolerance(self):
        self.assertEqual(verdicts(run_with((0.50,)), run_with((0.54,)))["seconds"], "same")

    def test_better(self):
        self.assertEqual(verdicts(run_with((0.9,)), run_with((0.5,)))["seconds"], "better")

    def test_a_machine_that_is_slower_for_both_is_no_regression(self):
        self.assertEqual(verdicts(run_with((0.5,)), run_with((1.0,), peer=(2.0,)))["seconds"], "same")

    def test_less_of_iperf3_is_worse(self):
        yardsticks = {"iperf3": {"10g": {"2": [1e9]}}}
        old, new = (result([row("pageferry/none", s, pages={"data": 100_000})], yardsticks) for s in (0.5, 0.8))
        self.assertEqual(verdicts(old, new)["iperf3"], "worse")
        self.assertEqual(verdicts(new, old)["iperf3"], "better")

    def test_no_longer_completing_is_worse(self):
        new = result([row("pageferry/none", 0, outcome="not converged"), row("qemu-7/none", 1.0)])
        self.assertEqual(verdicts(run_with((0.5,)), new), {"completed": "worse"})


class Files(unittest.TestCase):
    def exit_code(self, old, new, *words):
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("old.json", "new.json")]
            for path, content in zip(paths, (old, new)):
                with open(path, "w") as file:
                    json.dump(content, file)
            done = subprocess.run([os.path.join(PERF, "compare"), *paths, *words], capture_output=True, text=True)
            self.assertNotIn("Traceback", done.stderr)
            return done.returncode

    def test_exit_codes(self):
        good, bad = run_with((0.5,)), run_with((0.9,))
        self.assertEqual(self.exit_code(good, good), 0)
        self.assertEqual(self.exit_code(good, bad), 1)
        self.assertEqual(self.exit_code(good, bad, "--tolerance", "100%"), 0)
        self.assertEqual(self.exit_code(good, run_with((0.5,), name="other")), 2)
        self.assertEqual(self.exit_code(good, ["no result"]), 2)
        self.assertEqual(self.exit_code(good, result([row("pageferry/none", 1.0)])), 2)

    def test_another_machine_does_not_match_unless_asked(self):
        other = run_with((0.5,))
        other["machine"]["cpus"] = 64
        self.assertIn("cpus", mismatch(run_with((0.5,)), other, False))
        self.assertIsNone(mismatch(run_with((0.5,)), other, True))


if __name__ == "__main__":
    unittest.main()
