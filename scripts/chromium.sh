#!/usr/bin/env bash
# Chromium for the browser test, from the system's packages. Nothing to do where it is there already.
set -euo pipefail
command -v chromium >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "install chromium for the browser test (it is skipped without)" >&2; exit 0; }
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
