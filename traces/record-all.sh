#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Records the traces of this folder anew. Inputs are generated (always the same ones), programs are those of this machine, and so
# the traces differ from the shipped ones as far as the programs do: the notes say which versions those were.
#
#   traces/record-all.sh PAGESIM [NAME...]     PAGESIM: the program, e.g. build/tools/pagesim/pagesim
#
# It takes about a minute for each 50 million instructions.
set -eu

if [ $# -lt 1 ]; then
	sed -n '4,9s/^# \{0,1\}//p' "$0"
	exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
pagesim=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export LC_ALL=C TZ=UTC

# record NAME PROGRAM ARGUMENTS...: runs it in the work folder; the trace is compressed as far as it goes.
record() {
	name=$1
	shift
	echo "recording $name: $*" >&2
	"$pagesim" record -o "$work/$name.raw.pgt" -- "$@"
	"$pagesim" convert --level 19 "$work/$name.raw.pgt" "$here/$name.pgt"
	rm "$work/$name.raw.pgt"
}

sqlite_join() {
	sqlite3 shop.db < "$here/inputs/shop.sql"
	record sqlite-join sqlite3 -batch -init /dev/null shop.db ".read join.sql"
}

sqlite_lookups() {
	sqlite3 documents.db < "$here/inputs/documents.sql"
	record sqlite-lookups sqlite3 -batch -init /dev/null documents.db ".read lookups.sql"
}

sort_lines() {
	awk -v n=40000 -f "$here/inputs/lines.awk" > lines.txt
	record sort-lines sort --buffer-size=64M --output=sorted.txt lines.txt
}

python_graph() {
	record python-graph /usr/bin/python3 -I -S graph.py 3000 2 1
}

gcc_compile() {
	record gcc-compile gcc -O0 -c words.c
}

shell_pipeline() {
	awk -v n=12000 -f "$here/inputs/lines.awk" > lines.txt
	record shell-pipeline /bin/sh -c 'cut -d" " -f2 lines.txt | sort | uniq -c | sort -rn | head -n 3'
}

cp "$here"/inputs/* .
[ $# -gt 0 ] || set -- sqlite-join sqlite-lookups sort-lines python-graph gcc-compile shell-pipeline
for trace in "$@"; do
	case $trace in
	sqlite-join) sqlite_join ;;
	sqlite-lookups) sqlite_lookups ;;
	sort-lines) sort_lines ;;
	python-graph) python_graph ;;
	gcc-compile) gcc_compile ;;
	shell-pipeline) shell_pipeline ;;
	*)
		echo "$0: no trace called $trace" >&2
		exit 2
		;;
	esac
done
