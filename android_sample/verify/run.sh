#!/usr/bin/env bash
# Checks the Android sample; see verify.py. Prints a table of its steps, and exits with 1 when one fails.
set -euo pipefail
exec python3 "$(dirname "$0")/verify.py" "$@"
