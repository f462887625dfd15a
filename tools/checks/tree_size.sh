#!/bin/sh
# What a clone takes: tracked files stay below MOST megabytes (60), so that a demo and golden files of every task have room. Says the largest
# folders where they do not.
set -eu
cd "$(dirname "$0")/../.."
most=${MOST:-60}
bytes=$(git ls-files -z | xargs -0 stat -c %s | awk '{sum += $1} END {print sum}')
if [ "$bytes" -gt $((most * 1000000)) ]; then
  echo "tree size: $bytes bytes are tracked, more than $most MB; share parts between demos (docs/testing.md, Room), or make golden cases smaller:"
  git ls-files | awk -F/ 'NF > 2 {print $1 "/" $2} NF <= 2 {print $1}' | sort -u | while read -r folder; do
    echo "$(git ls-files -z "$folder" | xargs -0 stat -c %s | awk '{sum += $1} END {print sum}') $folder"
  done | sort -rn | sed 8q
  exit 1
fi
echo "tree size: $((bytes / 1000000)) MB of $most"
