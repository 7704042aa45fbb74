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
# Of a prompt, of which means are compared.
PICTURES = 64


def blocks():
    """Language, first line and text of each block of code."""
    text = GUIDE.read_text()
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], text.count("\n", 0, match.start()) + 2, match[2]


def mean(pictures):
    """The mean picture, colours over black as far as they are opaque."""
    opaque = pictures[..., 3:] / 255
    return np.concatenate([pictures[..., :3] * opaque, pictures[..., 3:]], axis=-1).mean(0)


def apart(one, other):
    """Root mean square difference, of 255."""
    return np.sqrt(np.mean((one - other) ** 2))


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

    def drawn(self, prompt, seed):
        """What the program draws, [PICTURES, size, size, channels]."""
        command = ["meanflow", "sample", "weights.safetensors", "--prompt", prompt, "--out", "own", "--format", "npz"]
        command += ["--count", str(PICTURES), "--seed", str(seed)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return np.load("own/samples.npz")["arr_0"]

    def test_all_parameters_are_read(self):
        out = subprocess.run(["meanflow", "inspect", "weights.safetensors"], check=True, capture_output=True, text=True)
        count = sum(weight.size for weight in self.names["weights"].values())
        self.assertIn(str(count), re.sub(r"[ ,_’']", "", out.stdout))
        self.assertEqual(self.names["model"]["name"], "nouns-words")

    def test_prompts_draw_what_the_program_draws(self):
        # The noise differs, so means of many are compared. The second prompt has a word of no vocabulary.
        prompts = ["shark, red glasses, gold body", "sharrk, teal glasses", "OWL – blue_glasses; teal body (cow)"]
        own, again = ([mean(self.drawn(prompt, seed)) for prompt in prompts] for seed in (0, 1000))
        here = [mean(self.names["draw"]([prompt] * PICTURES, seed=0)) for prompt in prompts]
        for i, prompt in enumerate(prompts):
            distances = [apart(here[i], other) for other in own]
            # As far as the program's own are from one another, and far nearer than to those of other prompts.
            self.assertLess(distances[i], 1.5 * apart(again[i], own[i]), f"{prompt}: {distances}")
            self.assertLess(4 * distances[i], min(distances[:i] + distances[i + 1 :]), f"{prompt}: {distances}")

    def test_no_prompt_is_one_too(self):
        pictures = self.names["draw"](["", "crab"], seed=1)
        self.assertEqual(pictures.shape, (2, 32, 32, 4))
        self.assertGreater(pictures[0].std(), 20)

    def test_sets_of_pictures_are_trained_on(self):
        log = pathlib.Path("from-python")
        self.assertTrue(any(log.iterdir()))
        self.assertEqual(self.names["samples"].shape, (64, 32, 32, 4))


if __name__ == "__main__":
    PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    # As Node's runner says it, for the totals of .ci/run.
    print(f"# pass {result.testsRun - failed}\n# fail {failed}")
    sys.exit(failed > 0)
