#!/bin/bash
# hugepages.sh [PAGES] - tries to have PAGES (256) free 2 MiB huge pages and prints, on standard output, the EAL
# arguments that fit what it got: `--in-memory`, or `--no-huge` where there are none or NO_HUGE=1 says so. Never fails.
want=${1:-256}
[ "${NO_HUGE:-0}" != 1 ] || { echo "--no-huge"; exit 0; }
dir=/sys/kernel/mm/hugepages/hugepages-2048kB
free() { cat "$dir/free_hugepages" 2>/dev/null || echo 0; }
if [ "$(free)" -lt "$want" ] && [ -w "$dir/nr_hugepages" ]; then
  echo $(( $(cat "$dir/nr_hugepages") + want - $(free) )) >"$dir/nr_hugepages" 2>/dev/null
fi
if [ "$(free)" -ge "$want" ]; then
  if ! grep -q ' hugetlbfs ' /proc/mounts; then mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages 2>/dev/null; fi
  echo "--in-memory"
else
  echo "no huge pages to be had ($(free) of $want free): falling back on --no-huge, which is slower" >&2
  echo "--no-huge"
fi
