"""The built-in demonstration: a small backlog that works offline and shows what the app is for."""

from __future__ import annotations

import tempfile
from pathlib import Path

DEMO_FILE = "tasks.yaml"
DEMO_TASKS = """\
# A demonstration: about twenty seconds of work on three workers.
- id: fetch
  title: Fetch the data
  kind: shell
  shell: true
  command: 'for i in 1 2 3 4 5 6 7 8; do echo "$i/8 fetched"; sleep 0.4; done; seq 1 5000 > data.txt'
  category: data
  priority: high
- id: check-data
  title: Check the data
  kind: shell
  shell: true
  command: 'wc -l < data.txt | grep -q 5000 && echo "5000 rows"'
  category: data
  dependencies: [fetch]
- id: sum
  title: Add it up
  kind: python
  callable: builtins:sum
  args: [[1, 2, 3, 4]]
  category: data
  dependencies: [check-data]
- id: lint
  title: Look for long lines
  kind: shell
  shell: true
  command: 'sleep 0.5; awk "length > 100" *.yaml; echo "looked at every line"'
  category: checks
  cache: true
- id: flaky
  title: Fails once, then recovers
  kind: shell
  shell: true
  command: 'if [ -e second-time ]; then echo "fine now"; else touch second-time; echo "warning: not ready" >&2; exit 1; fi'
  category: checks
  max_retries: 2
- id: noisy
  title: Prints 20,000 lines
  kind: shell
  shell: true
  command: 'seq -f "line %g" 1 20000'
  category: checks
  priority: low
- id: slow
  title: Takes its time, with progress
  kind: shell
  shell: true
  command: 'for i in $(seq 10 10 100); do echo "$i%"; sleep 0.8; done'
  category: builds
  timeout_seconds: 60
- id: package
  title: Put it together
  kind: shell
  shell: true
  command: 'sleep 1; tar cf package.tar data.txt && echo "package.tar written"'
  category: builds
  priority: critical
  dependencies: [check-data, flaky]
  verify: [test, -s, package.tar]
- id: explain-code
  title: A simulated agent reads the code
  description: Read the module that adds up the data and explain in three sentences what it does.
  kind: simulated
  category: agents
- id: write-tests
  title: A simulated agent writes tests
  description: Write tests for the module that adds up the data, and refactor what is hard to test.
  kind: simulated
  category: agents
  dependencies: [explain-code]
- id: tidy
  title: Tidy up, whatever happened
  kind: shell
  shell: true
  command: 'rm -f second-time; echo "tidy"'
  run_if: always
  priority: low
  dependencies: [package, slow, write-tests]
"""


def write_demo() -> Path:
    """Write the demonstration into a fresh folder; returns that folder."""
    folder = Path(tempfile.mkdtemp(prefix="mi4-demo-"))
    (folder / DEMO_FILE).write_text(DEMO_TASKS, encoding="utf-8")
    return folder
