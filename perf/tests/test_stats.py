# SPDX-License-Identifier: Apache-2.0
import unittest

from here import result, row
from harness import report, stats


class Summary(unittest.TestCase):
    def test_best_qemu_is_the_smallest_median_not_the_smallest_sample(self):
        rows = [row("pageferry/none", 0.5), row("qemu-7/none", 0.1), row("qemu-7/none", 2.0), row("qemu-7/none", 2.0),
                row("qemu-10/none", 1.0)]
        entry = stats.summarize(rows, {}, 1 << 30)[0]
        self.assertEqual(entry["ratios"]["seconds"]["to"], "qemu-10/none")
        self.assertAlmostEqual(entry["ratios"]["seconds"]["median"], 0.5)

    def test_a_peer_that_failed_once_is_not_the_best(self):
        rows = [row("pageferry/none", 0.5), row("qemu-7/none", 0.1), row("qemu-7/none", 0, outcome="failed: x"),
                row("qemu-7/xbzrle", 1.0)]
        self.assertEqual(stats.best(stats.groups(rows), "10g", "", "qemu-*", "seconds"), ("qemu-7/xbzrle", 1.0))

    def test_links_are_not_mixed(self):
        rows = [row("pageferry/none", 1.0, link="1g"), row("qemu-7/none", 0.1, link="10g")]
        self.assertNotIn("seconds", stats.summarize(rows, {}, 1 << 30)[0]["ratios"])

    def test_a_failure_is_counted_and_not_averaged(self):
        rows = [row("pageferry/none", 1.0), row("pageferry/none", 0, outcome="not converged")]
        entry = stats.summarize(rows, {}, 1 << 30)[0]
        self.assertEqual((entry["samples"], entry["completed"]), (2, 1))
        self.assertEqual(entry["figures"]["seconds"]["median"], 1.0)

    def test_iperf3_is_that_of_as_many_streams(self):
        rows = [row("pageferry/none", 1.0, pages={"data": 250_000})]
        yardsticks = {"iperf3": {"10g": {"1": [1.0], "2": [2 * 4096 * 250_000.0]}}}
        self.assertAlmostEqual(stats.summarize(rows, yardsticks, 1 << 30)[0]["ratios"]["iperf3"]["median"], 0.5)

    def test_read_bandwidth(self):
        rows = [row("pageferry/none", 0.5)]
        entry = stats.summarize(rows, {"readBandwidth": [10.0, 8.0, 9.0]}, 9)[0]
        self.assertAlmostEqual(entry["ratios"]["read-bandwidth"]["median"], 2.0)


class FirstTouch(unittest.TestCase):
    yardsticks = {"firstTouch": [[0.1, 0.5], [0.3, 0.5], [0.2, 1.0]]}

    def test_pairs_are_compared_not_medians(self):
        found = stats.first_touch(self.yardsticks)
        self.assertEqual((found["minimum"], found["median"], found["maximum"]), (0.2, 0.2, 0.6))

    def test_it_is_judged_and_shown(self):
        rows = [row("pageferry/none", 1.0)]
        expectation = {"figure": "first-touch", "at_most": 0.35}
        verdict, = stats.judge([expectation], rows, self.yardsticks, 1 << 30)
        self.assertEqual((verdict["verdict"], verdict["ratio"]), ("met", 0.2))
        self.assertEqual(stats.judge([expectation], rows, {}, 1 << 30)[0]["verdict"], "not measured")
        text = "\n".join(report.table(result(rows, self.yardsticks, [expectation])))
        self.assertIn("0.200 s in huge pages, 0.500 s in small; 0.20 (0.20 – 0.60)", text)


class Expectations(unittest.TestCase):
    rows = [row("pageferry/auto", 0.7), row("pageferry/none", 0.6), row("qemu-7/none", 1.0),
            row("qemu-7/multifd-2-zstd", 2.0)]

    def verdicts(self, **entry):
        return [(v["verdict"], v["engine"], v["against"]) for v in stats.judge([entry], self.rows, {}, 1 << 30)]

    def test_met_at_the_bound_exactly(self):
        self.assertEqual(self.verdicts(figure="seconds", engine="pageferry/auto", at_most=0.7),
                         [("met", "pageferry/auto", "qemu-7/none")])

    def test_not_met(self):
        self.assertEqual(self.verdicts(figure="seconds", engine="pageferry/auto", at_most=0.69)[0][0], "NOT MET")

    def test_without_engine_the_best_of_ours(self):
        self.assertEqual(self.verdicts(figure="seconds", at_most=0.6)[0][:2], ("met", "pageferry/none"))

    def test_against_a_pattern(self):
        self.assertEqual(self.verdicts(figure="seconds", against="qemu-*/multifd-*-zstd", at_most=0.31),
                         [("met", "pageferry/none", "qemu-7/multifd-2-zstd")])

    def test_bounds_by_link_leave_other_links_out(self):
        self.assertEqual(self.verdicts(figure="seconds", at_most={"1g": 0.5}), [])

    def test_without_a_peer_it_is_not_measured(self):
        self.assertEqual(self.verdicts(figure="seconds", against="qemu-99*", at_most=1)[0][0], "not measured")


class Report(unittest.TestCase):
    def test_failures_and_verdicts_are_shown(self):
        rows = [row("pageferry/none", 0.5), row("pageferry/none", 0, outcome="failed: no memory"),
                row("pageferry/auto", 0.9), row("qemu-7/none", 1.0)]
        text = "\n".join(report.table(result(rows, expectations=[{"figure": "seconds", "at_most": 0.1}])))
        self.assertIn("1 of 2", text)
        self.assertIn("failed: no memory", text)
        self.assertIn("NOT MET", text)


if __name__ == "__main__":
    unittest.main()
