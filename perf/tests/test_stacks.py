# SPDX-License-Identifier: Apache-2.0
import unittest
import xml.etree.ElementTree as tree

import here  # noqa: F401, the path
from harness import flame, stacks

SCRIPT = """\
pf-lane-0 1001/1002 
\tffffffff81000001 clear_page_erms ([kernel.kallsyms])
\tffffffff81000002 handle_mm_fault ([kernel.kallsyms])
\t          1098d9 store <a&b> (/usr/bin/x)
\t    7f7bac001040 [unknown] ([unknown])

CPU 0/TCG 1001/1003 
\t          1098d9 [unknown] (/usr/lib/libzstd.so.1.5.4)

swapper 0/0 
\tffffffff81000003 default_idle ([kernel.kallsyms])

swapper 0/0 
\tffffffff81000003 tcp_v4_rcv ([kernel.kallsyms])
"""


class Stacks(unittest.TestCase):
    found = list(stacks.parse(SCRIPT))

    def test_threads_frames_and_the_kernel_s_part(self):
        first, second, *_ = self.found
        self.assertEqual((first.thread, first.pid, first.kernel), ("pf-lane-0", 1001, 2))
        self.assertEqual(first.frames, ("store <a&b>", "handle_mm_fault", "clear_page_erms"))
        self.assertEqual((second.thread, second.frames), ("CPU 0/TCG", ("[libzstd.so.1.5.4]",)))
        self.assertEqual(len(self.found), 4)

    def test_kinds_of_work(self):
        self.assertEqual([stack.kind() for stack in self.found],
                         ["clearing pages", "user", "other kernel", "TCP and devices"])
        copying = stacks.Stack("t", 1, ("recv", "tcp_recvmsg", "_copy_to_iter"), 2)
        self.assertEqual(copying.kind(), "copying")

    def test_only_idling_is_left_out(self):
        self.assertEqual([stacks.is_idle(stack) for stack in self.found], [False, False, True, False])

    def test_long_swift_names_become_short(self):
        self.assertEqual(stacks.short("closure #1 in Lane.run(of: Swift.Int) throws(LaneError) -> ()"),
                         "closure #1 in Lane.run")
        self.assertEqual(stacks.short("specialized Array.append(contentsOf:)"), "Array.append")

    def test_a_flame_graph_is_well_formed_and_names_every_wide_frame(self):
        svg = flame.render(self.found, "a <b>", "c & d")
        titles = [title.text for title in tree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
        self.assertIn("store <a&b>: 25.0 %, 1 samples", titles)
        self.assertIn("all: 100.0 %, 4 samples", titles)
        self.assertNotIn("href", svg)
        self.assertNotIn("<script", svg)


if __name__ == "__main__":
    unittest.main()
