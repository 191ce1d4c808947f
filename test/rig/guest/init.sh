#!/bin/busybox sh
# The first and only program of the tests' guest. It loads the modules it was given, then answers one line with one line
# on its first serial port: `ID VERB WORD …` in, `ID ok …` or `ID no …` out. Numbers are bytes, or blocks of 4096 bytes.
# The kernel speaks on the second serial port. Nothing here waits: whoever asks does.

/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order

ok() { printf '%s ok %s\n' "$id" "$*"; }
no() { printf '%s no %s\n' "$id" "$*"; }

# Every disk as NAME:BYTES:rw or NAME:BYTES:ro.
disks() {
  found=''
  for entry in /sys/block/[vs]d*; do
    [ -e "$entry/size" ] || continue
    read -r sectors < "$entry/size"
    read -r ro < "$entry/ro"
    [ "$ro" = 0 ] && mode=rw || mode=ro
    found="$found${entry##*/}:$((sectors * 512)):$mode "
  done
  ok "$found"
}

# Reads past the page cache: what the disk has now.
read_blocks() {
  dd if="/dev/$1" iflag=direct bs=4096 skip="$2" count="$3" of=/tmp/read 2> /tmp/said \
    && [ "$(stat -c %s /tmp/read)" = $(($3 * 4096)) ]
}

digest() {
  if read_blocks "$1" "$2" "$3"; then ok "$(sha256sum < /tmp/read | cut -d ' ' -f 1)"; else no "$(tail -n 1 /tmp/said)"; fi
}

# Fills blocks with lines of one word, and has them on the disk before it answers.
fill() {
  if yes "$4" | head -c $(($3 * 4096)) \
    | dd of="/dev/$1" bs=4096 seek="$2" iflag=fullblock oflag=direct conv=fsync,notrunc 2> /tmp/said; then
    ok
  else
    no "$(tail -n 1 /tmp/said)"
  fi
}

# Writes one block again and again, each time with the next number, until /tmp/calm is there.
churn() {
  n=0
  while [ ! -e /tmp/calm ]; do
    n=$((n + 1))
    if printf '%-4095s\n' "churn $n" \
      | dd of="/dev/$1" bs=4096 seek="$2" iflag=fullblock oflag=direct conv=fsync,notrunc 2> /tmp/churn-said; then
      echo "$n" > /tmp/good.new && mv /tmp/good.new /tmp/good
    else
      echo "$n" >> /tmp/bad
    fi
  done
}

exec < /dev/ttyS0 > /dev/ttyS0 2> /dev/ttyS1
stty raw -echo
while read -r id verb words; do
  # shellcheck disable=SC2086
  set -- $words
  case "$verb" in
    hello) ok "$(uname -r)" ;;
    disks) disks ;;
    digest) digest "$@" ;;
    fill) fill "$@" ;;
    rescan) if echo 1 > "/sys/block/$1/device/rescan"; then ok; else no "it cannot be asked for its size"; fi ;;
    churn)
      rm -f /tmp/calm /tmp/bad
      echo 0 > /tmp/good
      churn "$@" < /dev/null > /dev/null &
      ok
      ;;
    churned) ok "$(cat /tmp/good) $([ -e /tmp/bad ] && wc -l < /tmp/bad || echo 0)" ;;
    calm)
      touch /tmp/calm
      wait
      ok "$(cat /tmp/good) $([ -e /tmp/bad ] && wc -l < /tmp/bad || echo 0)"
      ;;
    complaints) ok "$(dmesg | grep -c 'I/O error')" ;;
    sh)
      echo "$1" | base64 -d > /tmp/commands
      sh -e /tmp/commands > /tmp/printed 2>&1 < /dev/null && ok "$(base64 -w 0 /tmp/printed)" || no "$(base64 -w 0 /tmp/printed)"
      ;;
    poweroff)
      ok
      sync
      poweroff -f
      ;;
    *) no "no such verb: $verb" ;;
  esac
done
