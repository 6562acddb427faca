# shellcheck shell=bash
# Sourced by `build`, `build-live` and `capture`: messages, the cache folder, ownership, Debian's packages. Not a program of
# its own.

# Exit codes of all of them; the --help texts document them.
# shellcheck disable=SC2034 # used by the programs that source this
readonly EXIT_FAILED=1 EXIT_USAGE=2 EXIT_MISSING=3

# mke2fs lives in a folder that an ordinary user's PATH often lacks.
export PATH="$PATH:/usr/sbin:/sbin"
# Messages of apt and df are parsed.
export LC_ALL=C

note() { [ "${quiet:-no}" = yes ] || printf 'guest: %s\n' "$*" >&2; }

# fail CODE MESSAGE: the message says what is wrong; what to do.
fail() {
  printf 'guest: %s\n' "$2" >&2
  exit "$1"
}

usage_error() { fail "$EXIT_USAGE" "$1; see ${0##*/} --help"; }

# value OPTION ARGUMENTS-LEFT: refuses an option that came without its value.
value() { [ "$2" -ge 2 ] || usage_error "$1 needs a value"; }

# whole_number OPTION VALUE MINIMUM MAXIMUM
whole_number() {
  if ! [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || (($2 < $3 || $2 > $4)); then
    usage_error "$1 takes a whole number from $3 to $4, not '$2'"
  fi
}

# The folder that holds everything this guest needs; nothing in it is precious.
cache_folder() {
  printf '%s/guest\n' "${PAGEFERRY_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/pageferry}"
}

# make_folder DIR: mkdir -p. Under sudo, each folder made belongs to the owner of the folder it is made in,
# so that a later run without sudo can still use and remove it.
make_folder() {
  [ -d "$1" ] && return
  make_folder "$(dirname -- "$1")"
  mkdir -p -- "$1"
  own_like_parent "$1"
}

# own_like_parent PATH: under sudo, gives PATH to whoever owns its folder.
own_like_parent() {
  [ "$EUID" -ne 0 ] || chown -R --reference="$(dirname -- "$1")" -- "$1"
}

# room DIR: MiB that can still be written there.
room() { df -m --output=avail -- "$1" | tail -n 1 | tr -d ' '; }

# wait_for_lock DIR: one user of DIR at a time. The lock is on the folder itself, so that no lock file is left.
# Sets `lock`, the descriptor that holds it: close it in children that may outlive this program.
wait_for_lock() {
  exec {lock}<"$1"
  flock --nonblock "$lock" && return
  note "another run is at work in $1; waiting for it"
  interruptible flock "$lock"
}

helper_pid=''

# interruptible COMMAND...: bash runs a trap only once its foreground command has ended, but leaves `wait` at once.
interruptible() {
  local status=0
  "$@" &
  helper_pid=$!
  wait "$helper_pid" || status=$?
  helper_pid=''
  return "$status"
}

# --- Debian's packages, with $work, a folder for what is needed meanwhile

# Depends on the kernel package of the day. It has the serial console and initramfs built in, and needs no module for either.
readonly KERNEL=linux-image-cloud-amd64

# apt with package lists of its own: works without root, leaves the host's lists alone, and cannot ask for a
# version that the archive has replaced since the host's last update. Always amd64, whatever the host is.
private_apt() {
  local tool=$1
  shift
  "$tool" -q -o Dir::State="$work/apt" -o Dir::Cache="$work/apt" -o Dir::Cache::archives="$work/apt/archives" \
    -o Dir::State::status="$work/apt/status" -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
    -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Acquire::Languages=none "$@"
}

fetch_lists() {
  mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
  : >"$work/apt/status"
  note "fetching the package lists"
  private_apt apt-get update >"$work/log" 2>&1 || failed_step "apt could not fetch its package lists"
}

# current_kernel: the name of its package
current_kernel() {
  local name
  name=$(private_apt apt-cache depends "$KERNEL" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
  [ -n "$name" ] || fail "$EXIT_FAILED" "apt knows no package $KERNEL; use a Debian (12 or later) package source"
  printf '%s\n' "$name"
}

failed_step() {
  tail -n 5 "$work/log" >&2
  fail "$EXIT_FAILED" "$1 (its last lines are above); check the network and the package sources, then run it again"
}
