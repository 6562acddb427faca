#!/bin/busybox sh
# The guest's file activity: a web server's log with rotation and reports, and a backup that comes and goes.
# usage: workload.sh FOLDER READY-FILE; makes READY-FILE after the first round, never ends.
# Each round does a fixed amount and then sleeps, so that a fast and a slow host change about as much per second.
cd "$1" || exit 1
ready=$2

# About 200 lines (20 KB) of access log, with the paths of real files.
append_log() {
  awk -v round="$round" '
    BEGIN { srand(round) }
    rand() < 0.05 {
      printf "192.0.2.%d - - [%d] \"GET %s HTTP/1.1\" %d %d \"-\" \"Mozilla/5.0\" %.4f\n",
        rand() * 254, round, $2, rand() < 0.97 ? 200 : 404, $1, rand()
      if (++lines == 200) exit
    }' /opt/guest/content >>access.log
}

report() {
  awk '{ split($6, part, "/"); bytes[part[3]] += $9; hits[part[3]]++ }
    END { for (name in hits) print hits[name], bytes[name], name }' access.log |
    sort -rn >report.new
  mv report.new report
}

rotate_log() {
  gzip -c access.log >"access.$((round / 12 % 3)).gz"
  : >access.log
}

# Archives a handful of files, checks the archive and deletes the one before it: fresh pages, then stale ones.
back_up() {
  tail -n "+$((round * 7 % 3000 + 1))" /opt/guest/content | head -n 8 | cut -d ' ' -f 2 >list
  xargs tail -q -c 65536 <list >backup.new 2>/dev/null
  gzip -1 -c backup.new >"backup.$round.gz"
  md5sum backup.new "backup.$round.gz" >>sums
  rm -f backup.new "backup.$((round - 2)).gz"
}

round=0
while :; do
  round=$((round + 1))
  append_log
  case $((round % 4)) in
    1) report ;;
    2) back_up ;;
    3) sort access.log | uniq -c | tail -n 500 >busiest ;;
  esac
  [ $((round % 12)) -ne 0 ] || rotate_log
  [ $round -ne 4 ] || : >"$ready"
  sleep 0.2
done
