# SPDX-License-Identifier: Apache-2.0
import unittest

import here  # noqa: F401, the path
from harness import HarnessError, content, qemu, scenario

BASE = {"title": "t", "kind": "paused", "links": ["10g"], "rounds": 5, "content": {"mix": "0:0:100", "memory": "1GiB"},
        "pageferry": [{"codec": "none"}]}


def made(**more):
    return scenario.Scenario("s", BASE | more)


class Scenarios(unittest.TestCase):
    def test_all_that_are_here_load(self):
        self.assertGreaterEqual(len(scenario.names()), 8)
        for name in scenario.names():
            with self.subTest(name):
                one = scenario.load(name)
                for configuration, _ in one.qemu:
                    qemu.configuration(configuration)

    def test_lists_make_a_configuration_each(self):
        one = made(pageferry=[{"codec": ["none", "zstd:1"], "channels": [1, 2], "rounds": 2}])
        self.assertEqual([e.name for e in one.engines], ["none-1ch", "none", "zstd:1-1ch", "zstd:1"])
        self.assertEqual(one.engines[0].options, {"codec": "none", "channels": 1})
        self.assertEqual(one.engines[0].rounds, 2)

    def test_slow_configurations_run_less_often(self):
        one = made(qemu={"configurations": ["none", "multifd-2-zlib"], "rounds": {"multifd-*-zlib": 1, "none": 9}})
        self.assertEqual(one.qemu, [("none", 5), ("multifd-2-zlib", 1)])

    def test_a_rate_makes_a_guest_each(self):
        one = made(kind="live", guest={"memory": "2GiB", "rate": [50, 200]})
        self.assertEqual([(g["rate"], g["byte_count"]) for g in one.guests], [(50, 2 << 30), (200, 2 << 30)])

    def test_mistakes_are_named(self):
        for mistake, word in (
            ({"rouns": 3}, "rouns"), ({"links": ["11g"]}, "11g"), ({"kind": "moving"}, "moving"),
            ({"pageferry": [{"codex": "none"}]}, "codex"), ({"pageferry": [{}, {}]}, "one name"),
            ({"expect": [{"figure": "luck", "at_most": 1}]}, "luck"), ({"expect": [{"figure": "cpu"}]}, "at_most"),
            ({"kind": "live", "guest": {"memory": "7"}}, "'7'"), ({"content": None}, "content"),
            ({"kind": "live", "guest": {"pattern": "random"}, "qemu": {"configurations": ["none"]}}, "sparse or mixed"),
        ):
            with self.subTest(word), self.assertRaisesRegex(HarnessError, word):
                made(**mistake)

    def test_unknown_names_are_refused(self):
        with self.assertRaisesRegex(HarnessError, "paused-real"):
            scenario.load("nothing")
        for name in ("multifd", "multifd-2-lz4", "multifd-x-none", "plain"):
            with self.assertRaises(HarnessError):
                qemu.configuration(name)


class Content(unittest.TestCase):
    def test_sizes_and_mixes(self):
        self.assertEqual(content.byte_count("512MiB"), 512 << 20)
        self.assertEqual(content.shares("25:50:25"), [25, 50, 25])
        for mix in ("50:50", "50:50:1", "-1:51:50", "a:b:c"):
            with self.assertRaises(HarnessError):
                content.shares(mix)

    def test_what_is_generated_is_the_same_each_time_and_has_the_mix(self):
        import os, tempfile, zlib
        with tempfile.TemporaryDirectory() as folder:
            images = []
            for name in ("a", "b"):
                path = os.path.join(folder, name)
                content.generate(path, 4 << 20, [25, 50, 25], 1)
                with open(path, "rb") as file:
                    images.append(file.read())
        self.assertEqual(images[0], images[1])
        self.assertEqual(len(images[0]), 4 << 20)
        runs = [images[0][start:start + content.RUN] for start in range(0, 4 << 20, content.RUN)]
        sizes = [len(zlib.compress(run, 1)) / content.RUN for run in runs]
        zero, random = sum(size < 0.01 for size in sizes), sum(size > 0.99 for size in sizes)
        self.assertTrue(8 <= zero <= 24 and 8 <= random <= 24, (zero, random))
        self.assertTrue(all(0.2 < size < 0.5 for size in sizes if 0.01 <= size <= 0.99), sizes)


if __name__ == "__main__":
    unittest.main()
