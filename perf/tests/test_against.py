# SPDX-License-Identifier: Apache-2.0
import importlib.machinery, importlib.util, os, unittest

import here

loader = importlib.machinery.SourceFileLoader(
    "against", os.path.join(os.path.dirname(here.PERF), "Benchmarks/against"))
against = importlib.util.module_from_spec(importlib.util.spec_from_loader("against", loader))
loader.exec_module(against)

TABLE = """\
Instruction sets: scalar, avx2. Times are medians of interleaved rounds; x: times as fast as the first line.

case                              variant          ns/op     GB/s       x
zero-scan/zero-page               scalar            1076     3.81       -
                                  avx2              17.5   234.02   61.56
snapshot/data                     memcpy to cache  200.5        -       -
"""


class Against(unittest.TestCase):
    def test_the_table_is_read(self):
        self.assertEqual(against.nanoseconds(TABLE), {
            ("zero-scan/zero-page", "scalar"): 1076.0, ("zero-scan/zero-page", "avx2"): 17.5,
            ("snapshot/data", "memcpy to cache"): 200.5})

    def test_ranges_that_overlap_are_noise(self):
        self.assertEqual(against.judge([1.0, 1.1], [1.05, 1.5])[1], "noise")
        self.assertEqual(against.judge([1.0, 1.001], [1.01, 1.011])[1], "noise")

    def test_what_is_not(self):
        self.assertEqual(against.judge([1.0, 1.1], [2.0, 2.2]), (2.0, "SLOWER"))
        self.assertEqual(against.judge([2.0, 2.2], [1.0, 1.1])[1], "faster")


if __name__ == "__main__":
    unittest.main()
