"""Runs docs/guide/python.md from top to bottom, and holds what it draws to what the program draws.

    web/tools/python.sh tests/python/requirements.txt tests/python/guide.py PROGRAM
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/guide/python.md"


def blocks():
    """Language, first line and text of each block of code."""
    text = GUIDE.read_text()
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], text.count("\n", 0, match.start()) + 2, match[2]


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        os.chdir(folder.name)
        cls.addClassCleanup(os.chdir, ROOT)
        os.symlink(ROOT / "static", "static")
        programs = pathlib.Path("bin")
        programs.mkdir()
        os.symlink(PROGRAM, programs / "meanflow")
        os.environ["PATH"] = f"{programs.resolve()}:{os.environ['PATH']}"
        cls.names = {}
        for language, line, block in blocks():
            if language == "sh":
                subprocess.run(["bash", "-euc", block], check=True, stdout=subprocess.DEVNULL)
            else:
                # Line numbers of errors are those of the document.
                exec(compile("\n" * (line - 1) + block, GUIDE, "exec"), cls.names)

    def drawn(self, prompt, count=4):
        """What the program draws, [count, size, size, channels]."""
        command = ["meanflow", "sample", "weights.safetensors", "--prompt", prompt, "--out", "own", "--format", "npz"]
        subprocess.run([*command, "--count", str(count)], check=True, stdout=subprocess.DEVNULL)
        return np.load("own/samples.npz")["arr_0"]

    def test_all_parameters_are_read(self):
        out = subprocess.run(["meanflow", "inspect", "weights.safetensors"], check=True, capture_output=True, text=True)
        count = sum(weight.size for weight in self.names["weights"].values())
        self.assertIn(str(count), re.sub(r"[ ,_’']", "", out.stdout))
        self.assertEqual(self.names["model"]["name"], "nouns-words")

    def test_prompts_draw_what_the_program_draws(self):
        # Such a prompt leaves little to the noise, which differs. The second has a word of no vocabulary.
        prompts = ["shark, red glasses, gold body, heart", "sharrk, red glasses, gold body, heart"]
        prompts.append("OWL – blue_glasses; teal body (cow)")
        own = [self.drawn(prompt).mean(0) for prompt in prompts]
        here = [self.names["draw"]([prompt] * 4, seed=0).mean(0) for prompt in prompts]
        distance = [[np.sqrt(np.mean((a - b) ** 2)) for b in own] for a in here]
        for i, row in enumerate(distance):
            self.assertLess(row[i], 12, f"{prompts[i]}: {distance}")
            others = [other for j, other in enumerate(row) if j // 2 != i // 2]
            self.assertLess(3 * row[i], min(others), f"{prompts[i]}: {distance}")

    def test_no_prompt_is_one_too(self):
        pictures = self.names["draw"](["", "crab"], seed=1)
        self.assertEqual(pictures.shape, (2, 32, 32, 3))
        self.assertGreater(pictures[0].std(), 20)

    def test_sets_of_pictures_are_trained_on(self):
        log = pathlib.Path("from-python")
        self.assertTrue(any(log.iterdir()))
        self.assertEqual(self.names["samples"].shape, (64, 32, 32, 3))


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    # As Node's runner says it, for the totals of .ci/run.
    print(f"# pass {result.testsRun - failed}\n# fail {failed}")
    sys.exit(failed > 0)
