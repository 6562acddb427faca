# shellcheck shell=bash
# Sourced by `capture`: QEMU as a child that is controlled over QMP and never left behind.
# Uses $run (a folder for the small files of this run), $guest (the folder of `build`) and $memory (MiB).

# `ram` reads the guest's memory, also after the file has lost its name.
vm_pid='' ram_file='' ram='' qmp_in='' qmp_out=''

# The memory file is faster in memory; on disk it works too. Half as much again is left free for everything else.
memory_folder() {
  local wanted=$((memory * 3 / 2)) available
  available=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
  if [ -w /dev/shm ] && (($(room /dev/shm) >= wanted && available >= wanted)); then
    echo /dev/shm
  elif (($(room "$run") >= wanted)); then
    echo "$run"
  else
    fail "$EXIT_FAILED" "no room for the guest's $memory MiB in /dev/shm or $run; free $wanted MiB in either"
  fi
}

# start_vm ACCELERATOR: QEMU with its control channel (QMP) on two pipes. It dies with this program, even if that
# is killed; the memory file loses its name as soon as QEMU has it open, so it cannot be left behind either.
start_vm() {
  local cpu=qemu64 folder
  used_accel=$1
  [ "$1" = tcg ] || cpu=host
  folder=$(memory_folder) || exit
  ram_file=$(mktemp "$folder/pageferry-guest.XXXXXX") || exit
  exec {ram}<"$ram_file"
  rm -f "$run/in" "$run/out"
  mkfifo "$run/in" "$run/out"
  : >"$run/console"
  TMPDIR=$run setpriv --pdeathsig KILL qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
    -accel "$1" -cpu "$cpu" -smp 1 -m "$memory" -machine pc,memory-backend=ram \
    -object "memory-backend-file,id=ram,size=${memory}M,mem-path=$ram_file,share=on" \
    -kernel "$guest/vmlinuz" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off root=/dev/nvme0n1 rw init=/opt/guest/init" \
    -drive "file=$guest/disk.ext4,format=raw,if=none,id=disk,snapshot=on" -device nvme,drive=disk,serial=1 \
    -chardev "file,id=console,path=$run/console" -serial chardev:console \
    -qmp stdio <"$run/in" >"$run/out" 2>"$run/qemu.log" {lock}<&- &
  vm_pid=$!
  disown "$vm_pid" # else bash reports its end in its own words
  exec {qmp_in}>"$run/in" {qmp_out}<"$run/out"
  qmp_reply QMP && qmp qmp_capabilities || return 1
  rm -f -- "$ram_file"
  ram_file=''
}

# qmp_reply KEY: waits for QEMU's next answer, past the events in between. Fails if QEMU does not give it.
qmp_reply() {
  local line
  while read -r -t 60 -u "$qmp_out" line; do
    case $line in
      "{\"$1\""*) return 0 ;;
      '{"error"'*) printf '%s\n' "$line" >>"$run/qemu.log"; return 1 ;;
    esac
  done
  return 1
}

qmp() { printf '{"execute":"%s"}\n' "$1" >&"$qmp_in" && qmp_reply return; }

# wait_for LINE-START SECONDS: until the guest says so on its console
wait_for() {
  local deadline=$((SECONDS + $2))
  until grep -q "^guest: $1" "$run/console"; do
    vm_runs && ((SECONDS < deadline)) || return 1
    interruptible sleep 0.1
  done
}

stop_vm() {
  while [ -n "$vm_pid" ] && kill -KILL "$vm_pid" 2>/dev/null; do sleep 0.02; done
  [ -z "$ram_file" ] || rm -f -- "$ram_file"
  [ -z "$qmp_out" ] || exec {qmp_out}<&-
  [ -z "$qmp_in" ] || exec {qmp_in}>&-
  [ -z "$ram" ] || exec {ram}<&- # the last reference to the memory
  vm_pid='' ram_file='' ram='' qmp_in='' qmp_out=''
}

vm_runs() { kill -0 "$vm_pid" 2>/dev/null; }

# fail_with_console MESSAGE
fail_with_console() {
  {
    echo "--- the last lines of the guest's console, and of QEMU:"
    tail -n 15 "$run/console" "$run/qemu.log" 2>/dev/null || true
    echo "---"
  } >&2
  fail "$EXIT_FAILED" "$1"
}
