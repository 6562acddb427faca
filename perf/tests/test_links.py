# SPDX-License-Identifier: Apache-2.0
import os, subprocess, sys, time, unittest
from unittest import mock

import here  # noqa: F401, the path
from harness import HarnessError, links, machine, pageferry, qemu, yardstick


class Links(unittest.TestCase):
    def test_a_host_that_does_not_reach_the_rate_is_told(self):
        self.assertEqual(yardstick.reached("40g", 3e9)[1], False)
        self.assertIn("DOES NOT REACH 40 Gbit/s", yardstick.reached("40g", 3e9)[0])
        self.assertTrue(yardstick.reached("10g", 9.5e9 / 8)[1])
        self.assertTrue(yardstick.reached("unshaped", 1)[1])

    def test_every_rate_has_a_shape(self):
        self.assertEqual({name for name, shape in links.SHAPES.items() if shape}, set(links.NOMINAL))

    def test_without_root_it_says_so(self):
        with mock.patch.object(os, "geteuid", return_value=1000), self.assertRaisesRegex(HarnessError, "root"):
            with links.Link():
                pass

    def test_namespaces_go_when_making_them_fails(self):
        with mock.patch.object(os, "geteuid", return_value=0), \
                mock.patch.object(links, "sh", side_effect=HarnessError("no ip")), \
                mock.patch.object(subprocess, "run") as run, self.assertRaises(HarnessError):
            with links.Link():
                pass
        self.assertEqual(run.call_count, 2)


class Processes(unittest.TestCase):
    def test_processor_time_of_another_process(self):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            before, began = machine.process_seconds(busy.pid), time.monotonic()
            used = 0
            while used < 0.05 and time.monotonic() < began + 60:
                time.sleep(0.01)
                used = machine.process_seconds(busy.pid) - before
            passed = time.monotonic() - began
        finally:
            busy.kill()
            busy.wait()
        self.assertGreaterEqual(used, 0.05)
        self.assertLess(used, passed + 0.05)  # One thread, and ticks of 10 ms at both ends.

    def test_lines_are_waited_for(self):
        process = subprocess.Popen(["sh", "-c", "echo first; echo session 1; echo last"], stdout=subprocess.PIPE, text=True)
        lines = pageferry.Lines(process.stdout)
        self.assertEqual(lines.wait_for("session ", 5), "session 1")
        self.assertIsNone(lines.wait_for("never", 5))
        process.wait()
        self.assertTrue(lines.ended)
        process.stdout.close()

    def test_a_qemu_that_is_not_there(self):
        with self.assertRaisesRegex(HarnessError, "no QEMU at /nowhere"):
            qemu.Binary("/nowhere/qemu -L x")
        with self.assertRaisesRegex(HarnessError, "version"):
            qemu.Binary("true")


if __name__ == "__main__":
    unittest.main()
