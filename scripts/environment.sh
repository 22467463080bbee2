# The set-up that scripts/demo and scripts/test share. Source it from bash:
#
#   source scripts/environment.sh
#
# It makes .venv in the checkout, with everything in it, once; later it returns at once. It sets
# ROOT (the checkout) and puts .venv/bin first on PATH. PYTHON=python3.12 chooses the interpreter.
# .venv has the ROS packages of Jazzy. `use_kilted` makes .venv-kilted with those of Kilted, and
# puts that first on PATH.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
STAMP="$VENV/set-up.stamp"
KILTED_VENV="$ROOT/.venv-kilted"
KILTED_STAMP="$KILTED_VENV/set-up.stamp"
UNFINISHED="$VENV/unfinished"
SET_UP_LOG="$ROOT/.cache/set-up.log"

say() { echo "set-up: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

# A sourced ROS would put its own rclpy, tf2_ros and libraries before those of .venv; a guard
# variable inherited from another virtual environment would keep rclpy from finding its libraries.
leave_sourced_ros() {
  local part kept=() prefixes="${AMENT_PREFIX_PATH:-}"
  if [[ -n "$prefixes" && -n "${LD_LIBRARY_PATH:-}" ]]; then
    while IFS= read -r -d ':' part; do
      [[ ":$prefixes:" == *":${part%/lib*}:"* ]] || kept+=("$part")
    done <<<"$LD_LIBRARY_PATH:"
    LD_LIBRARY_PATH="$(IFS=':' && echo "${kept[*]-}")"
    export LD_LIBRARY_PATH
  fi
  unset PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH \
    RMW_IMPLEMENTATION ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION _ROS_WHEELS_BOOTSTRAP_COMPLETE
}

# Prints the interpreter to build .venv with; never that of a virtual environment that is active.
find_python() {
  local candidate supported='
import sys
if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(1)
print(getattr(sys, "_base_executable", None) or sys.executable)'
  if [[ -n "${PYTHON:-}" ]]; then
    "$PYTHON" -I -S -c "$supported" 2>/dev/null ||
      fail "PYTHON=$PYTHON is not a Python 3.11 to 3.13: name another, or leave PYTHON unset"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    "$candidate" -I -S -c "$supported" 2>/dev/null && return
  done
  fail 'no Python 3.11 to 3.13 found: install the Debian package python3'
}

check_prerequisites() {
  local python="$1"
  [[ "$(uname -sm)" == 'Linux x86_64' ]] ||
    fail "the ROS packages of PyPI run on Linux x86_64 only, this is $(uname -sm): install ROS 2"
  "$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv module: install the Debian package python3-venv"
  command -v cc >/dev/null || command -v gcc >/dev/null ||
    fail 'no C compiler found: install the Debian package gcc (or build-essential)'
  command -v c++ >/dev/null || command -v g++ >/dev/null ||
    fail 'no C++ compiler found: install the Debian package g++ (or build-essential)'
  "$python" -I -c 'import os, sysconfig as s
assert os.path.exists(os.path.join(s.get_path("include"), "Python.h"))' 2>/dev/null ||
    fail "$python has no header files: install the Debian package python3-dev"
  command -v git >/dev/null || fail 'git not found: install the Debian package git'
}

# Runs a step with its output in the log; what failed is shown, a success stays silent.
quietly() {
  "$@" >>"$SET_UP_LOG" 2>&1 </dev/null || {
    tail -n 20 "$SET_UP_LOG" >&2
    fail "failed: ${*##*/} (whole output: $SET_UP_LOG); run the same command again to go on"
  }
}

venv_is_usable() {
  # A virtual environment cannot be moved: its scripts name the place where it was made.
  # One whose packages were cut off while they were unpacked is not worth a repair.
  grep -qsF "$VENV" "$VENV/bin/activate" && [[ ! -e "$UNFINISHED" ]] &&
    "$VENV/bin/python" -I -S -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null &&
    [[ -f "$VENV/pyvenv.cfg" && -d "$VENV/lib/python$(venv_version)/site-packages/pip" ]] &&
    venv_is_wanted
}

# PYTHON chooses the version of .venv; without it, any supported one will do.
venv_is_wanted() {
  [[ -z "${PYTHON:-}" || "$(python_version "$PYTHON" 2>/dev/null)" == "$(venv_version)" ]]
}

python_version() { "$1" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }
venv_version() { python_version "$VENV/bin/python"; }

# Prints a fingerprint of all that the state of a folder depends on: fingerprint FOLDER FILE...
fingerprint() {
  {
    echo "$1"
    shift
    venv_version 2>/dev/null || echo 'no interpreter'
    cd "$ROOT"
    find "$@" -type f -print0 | sort -z | xargs -0 sha256sum
  } | sha256sum
}

whole_fingerprint() {
  fingerprint "$VENV" scripts/versions.txt scripts/environment.sh setup.py setup.cfg package.xml \
    trainer/pyproject.toml pip_ros/pyproject.toml pip_ros/interfaces/tf2_msgs
}

kilted_fingerprint() {
  fingerprint "$KILTED_VENV" scripts/versions_kilted.txt scripts/environment.sh \
    pip_ros/interfaces/tf2_msgs
}

is_set_up() {
  [[ -x "$VENV/bin/python" && "$(cat "$STAMP" 2>/dev/null)" == "$(whole_fingerprint)" ]] &&
    venv_is_wanted
}

kilted_is_set_up() {
  [[ -x "$KILTED_VENV/bin/python" ]] &&
    [[ "$(cat "$KILTED_STAMP" 2>/dev/null)" == "$(kilted_fingerprint)" ]]
}

make_venv() {
  local python="$1"
  venv_is_usable && return
  say "making .venv with $python"
  rm -rf "$VENV"
  quietly "$python" -I -m venv "$VENV"
}

# tf2_msgs is not on PyPI; it is an ordinary interface package, built with a virtual environment as
# its prefix: build_messages PREFIX VERSIONS
build_messages() {
  local prefix="$1" stamp="$1/tf2_msgs.stamp" environment wanted build
  environment=(env AMENT_PREFIX_PATH="$prefix" PATH="$prefix/bin:$VENV/bin:$PATH")
  wanted="$(fingerprint "$prefix" "$2" pip_ros/interfaces/tf2_msgs)"
  [[ "$(cat "$stamp" 2>/dev/null)" == "$wanted" ]] && return
  say 'building tf2_msgs (about 10 seconds)'
  build="$(mktemp -d)"
  quietly "${environment[@]}" \
    "$VENV/bin/cmake" -S "$ROOT/pip_ros/interfaces/tf2_msgs" -B "$build" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_INSTALL_PREFIX="$prefix" \
    -DPython3_EXECUTABLE="$prefix/bin/python" -DBUILD_TESTING=OFF
  quietly "${environment[@]}" "$VENV/bin/cmake" --build "$build" --target install
  rm -rf "$build"
  echo "$wanted" >"$stamp"
}

set_up() {
  local python
  python="$(find_python)" || exit 1
  check_prerequisites "$python"
  : >"$SET_UP_LOG"
  rm -f "$STAMP"
  make_venv "$python"
  say 'installing the packages of scripts/versions.txt (about 6 GB the first time)'
  touch "$UNFINISHED"
  quietly "$VENV/bin/python" -m pip install --disable-pip-version-check --quiet \
    --constraint "$ROOT/scripts/versions.txt" uv
  quietly "$VENV/bin/uv" pip install --python "$VENV/bin/python" -r "$ROOT/scripts/versions.txt"
  rm "$UNFINISHED"
  build_messages "$VENV" scripts/versions.txt
  quietly "$VENV/bin/uv" pip install --python "$VENV/bin/python" --no-deps --no-build-isolation \
    -e "$ROOT" -e "$ROOT/trainer" -e "$ROOT/pip_ros"
  # Written last: an interrupted set-up is taken up again by the next run.
  whole_fingerprint >"$STAMP"
  say 'done'
}

SHARE_PACKAGES='
import sysconfig
print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))'

# Seconds of work: one that was cut off, or that is outdated, begins anew.
set_up_kilted() {
  : >"$SET_UP_LOG"
  say 'making .venv-kilted with the ROS packages of Kilted'
  rm -rf "$KILTED_VENV"
  quietly "$VENV/bin/python" -I -m venv --without-pip "$KILTED_VENV"
  quietly "$VENV/bin/uv" pip install --python "$KILTED_VENV/bin/python" --no-deps \
    -r "$ROOT/scripts/versions_kilted.txt"
  # Everything else comes from .venv, whose own ROS packages are found last. The name sorts after
  # that of the ROS packages' own .pth file, which starts the interpreter anew.
  "$VENV/bin/python" -I -c "$SHARE_PACKAGES" \
    >"$KILTED_VENV/lib/python$(venv_version)/site-packages/shared_packages.pth"
  build_messages "$KILTED_VENV" scripts/versions_kilted.txt
  kilted_fingerprint >"$KILTED_STAMP"
  say 'done'
}

# Makes what is not there yet, once for all runs: ensure IS_SET_UP SET_UP
ensure() {
  "$1" && return
  mkdir -p "$ROOT/.cache"
  exec 9>"$ROOT/.cache/set-up.lock"
  flock -n 9 || {
    say 'waiting for another run to finish the set-up'
    flock 9
  }
  "$1" || "$2"
  exec 9>&-
}

use_kilted() {
  ensure kilted_is_set_up set_up_kilted
  export VIRTUAL_ENV="$KILTED_VENV" PATH="$KILTED_VENV/bin:$PATH"
}

leave_sourced_ros
ensure is_set_up set_up
export VIRTUAL_ENV="$VENV" PATH="$VENV/bin:$PATH"
