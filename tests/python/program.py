"""Where cargo has put the program: its own configuration may have it built elsewhere than in target."""

import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = ["cargo", "metadata", "--no-deps", "--locked", "--format-version", "1"]
BINARY = pathlib.Path(json.loads(subprocess.check_output(COMMAND, cwd=ROOT))["target_directory"]) / "debug" / "journeylog"
