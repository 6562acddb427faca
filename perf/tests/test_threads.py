# SPDX-License-Identifier: Apache-2.0
import os, tempfile, threading, time, unittest

import here  # noqa: F401, the path
from harness import threads


class Threads(unittest.TestCase):
    def test_the_processor_is_found_behind_any_name(self):
        fields = ["R", *["0"] * 35, "7", "0"]
        self.assertEqual(threads.processor("12 (a) b (c) " + " ".join(fields)), 7)

    def test_switches(self):
        self.assertEqual(threads.switches("x:\t1\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n"), (12, 3))

    def test_a_busy_thread_is_seen_on_a_cpu(self):
        done, worked = threading.Event(), threading.Event()
        goal = 0.05  # Seconds on a CPU; how long that takes is up to what else the machine has to do.

        def spin():
            while not done.is_set():
                if time.thread_time() > goal:
                    worked.set()

        sampler = threads.Sampler(0.005)
        sampler.begin(os.getpid(), os.getpid())
        busy = threading.Thread(target=spin)
        busy.start()
        try:
            self.assertTrue(worked.wait(60))
            sampler.end()
        finally:
            done.set()
            busy.join()
        seen = sampler.ends["source"].values()
        self.assertGreaterEqual(sum(thread.nanoseconds for thread in seen), goal * 1e9)
        self.assertTrue(any(thread.cpus for thread in seen))
        self.assertIn("source", "\n".join(threads.table(sampler.ends)))

    def test_nodes_of_a_recorded_tree(self):
        with tempfile.TemporaryDirectory() as root:
            for number in (0, 10, 2):
                node = os.path.join(root, f"node{number}")
                os.mkdir(node)
                for name, content in (("cpulist", f"{number}-{number + 1}\n"), ("distance", "10 20 20\n"),
                                      ("meminfo", f"Node {number} MemTotal: 2097152 kB\nNode {number} MemFree: 1048576 kB\n")):
                    with open(os.path.join(node, name), "w") as file:
                        file.write(content)
            lines = list(threads.nodes(root))
        self.assertEqual([line.split(":")[0] for line in lines], ["node0", "node2", "node10"])
        self.assertEqual(lines[1], "node2: CPUs 2-3, 2.0 GiB (1.0 free), distances 10 20 20")
        self.assertEqual(len(list(threads.nodes("/nowhere"))), 1)


if __name__ == "__main__":
    unittest.main()
