#!/bin/bash
# heap_alone prints expected_output.txt, and nothing else.
set -euo pipefail
diff "$2" <("$1" 2>&1)
