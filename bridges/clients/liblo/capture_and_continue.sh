#!/bin/sh
# Record for some seconds, let SoundForge go on from there, and wait until the clip is there.
#
#   capture_and_continue.sh [SECONDS] [HOST] [PORT]      default: 4 127.0.0.1 9130
#
# Needs liblo's oscsend and oscdump (Debian: apt-get install liblo-tools).
# Prints everything SoundForge says; exit status 0 when the clip is done, 1 when it failed or nothing came.
set -eu
seconds=${1:-4} host=${2:-127.0.0.1} port=${3:-9130}
listen=$((20000 + $$ % 20000))
heard=$(mktemp)

oscdump -L "$listen" >"$heard" &
dump=$!
trap 'kill "$dump" 2>/dev/null; rm -f "$heard"' EXIT

wait_for() { # PATTERN SECONDS
    tries=$(($2 * 10))
    until grep -Eq "$1" "$heard"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { cat "$heard"; echo "nothing came that matches $1" >&2; exit 1; }
        sleep 0.1
    done
}

# oscdump takes a moment to listen, and UDP does not wait for it: ask until something is heard.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    oscsend "$host" "$port" /soundforge/subscribe i "$listen"
    sleep 0.2
    if grep -q /soundforge/subscribed "$heard"; then break; fi
done
wait_for /soundforge/subscribed 2

take=shell-$(date +%H%M%S)-$$
oscsend "$host" "$port" /soundforge/capture/start s "$take"
wait_for "/soundforge/(capture/started|error)" 5
sleep "$seconds"
oscsend "$host" "$port" /soundforge/capture/stop
wait_for "/soundforge/(take|error) " 10
oscsend "$host" "$port" /soundforge/continue sfs "$take" 4 "$take"
wait_for "/soundforge/job/(done|error|cancelled) [sf]+ \"$take\"|/soundforge/error" 600

cat "$heard"
oscsend "$host" "$port" /soundforge/unsubscribe i "$listen"
grep -q "/soundforge/job/done" "$heard"
