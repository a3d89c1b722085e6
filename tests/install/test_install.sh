#!/bin/sh
# SPDX-License-Identifier: MIT
# Install into an empty folder and use what is there as a stranger would: the CLI runs from wherever the folder lies, a C and a
# C++ program are compiled against every header with what pagesim.pc says, linked with every exported name, and run, and
# the manual page is in its place.
#
#   test_install.sh SOURCE BUILD PREFIX
set -eu
source=$1
build=$2
prefix=$3

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset LD_LIBRARY_PATH PKG_CONFIG_PATH

say() {
	printf '%s\n' "$*"
}
die() {
	say "FAILED: $*"
	exit 1
}

meson install -C "$build" --no-rebuild --quiet --destdir "$scratch/first"
# An installed tree does not know where it was installed.
mv "$scratch/first" "$scratch/moved"
tree=$scratch/moved$prefix

say "the CLI runs"
"$tree/bin/pagesim" --version
"$tree/bin/pagesim" --help >/dev/null
if readelf -d "$tree/bin/pagesim" | grep -F "$build"; then
	die "the installed CLI looks for its library in the build folder"
fi

say "every public header is there, and no other"
(cd "$source/include/pagesim" && find . -name '*.h' -o -name '*.def' | sort) >"$scratch/wanted"
(cd "$tree/include/pagesim" && find . -type f | sort) >"$scratch/there"
diff "$scratch/wanted" "$scratch/there" || die "the headers differ"

say "the manual page is there"
[ -s "$tree/share/man/man1/pagesim.1" ] || die "no share/man/man1/pagesim.1"
for command in $("$tree/bin/pagesim" --help | sed '1,/^Commands:/d' | awk '{print $1}'); do
	grep -q "pagesim $command" "$tree/share/man/man1/pagesim.1" || die "the manual does not speak of $command"
done

oracle=$(find "$tree" -path '*/pagesim/oracle')
if [ -n "$oracle" ]; then
	say "the oracle is there, finds its own programs, and pagesim finds it"
	"$oracle" --help >/dev/null
	echo 'A start' >"$scratch/one.pgs"
	said=$("$tree/bin/pagesim" verify --on-linux --kernel "$scratch/no-kernel" "$scratch/one.pgs" 2>&1) && die "verify took no kernel for one"
	printf '%s\n' "$said" | grep -qE '^oracle: .*(no such kernel|must be installed first)' || die "verify --on-linux says: $said"
fi

pc=$(find "$tree" -name pagesim.pc)
if [ -z "$pc" ]; then
	# A tree without any layer yet has no library.
	grep -q '^global:' "$source/sim/pagesim.map" && die "no pagesim.pc"
	say "no library yet"
	exit 0
fi
mkdir "$scratch/pc"
sed "s|^prefix=.*|prefix=$tree|" "$pc" >"$scratch/pc/pagesim.pc"
export PKG_CONFIG_PATH="$scratch/pc"
version=$(pkg-config --modversion pagesim)
[ "pagesim $version" = "$("$tree/bin/pagesim" --version)" ] || die "pagesim.pc says version $version"
if grep -F "$build" "$pc"; then
	die "pagesim.pc speaks of the build folder"
fi

say "a program that includes every header and links every exported name"
{
	(cd "$tree/include/pagesim" && for h in *.h; do echo "#include <pagesim/$h>"; done)
	# Through a volatile, or the compiler knows the answer and needs no library.
	cat <<-'END'
	#include <stdio.h>
	int main(void)
	{
		const volatile void *volatile p;
		int n = 0;
	END
	sed -n 's/^	\([a-zA-Z_0-9]*\);$/	p = (const volatile void *)\&\1; n += p != NULL;/p' "$source/sim/pagesim.map"
	cat <<-'END'
		printf("%d names\n", n);
		return 0;
	}
	END
} >"$scratch/user.c"
cp "$scratch/user.c" "$scratch/user.cc"
library=$(pkg-config --variable=libdir pagesim)
# shellcheck disable=SC2046
gcc -std=gnu11 -Wall -Werror -o "$scratch/user" "$scratch/user.c" $(pkg-config --cflags --libs pagesim) -Wl,-rpath,"$library"
# shellcheck disable=SC2046
g++ -std=gnu++17 -Wall -Werror -o "$scratch/user++" "$scratch/user.cc" $(pkg-config --cflags --libs pagesim) -Wl,-rpath,"$library"
wanted="$(grep -c '^	[a-zA-Z_0-9]*;$' "$source/sim/pagesim.map") names"
[ "$("$scratch/user")" = "$wanted" ] || die "the C program does not see $wanted"
[ "$("$scratch/user++")" = "$wanted" ] || die "the C++ program does not see $wanted"
say "$wanted, in C and in C++"

say "the library needs what it says and nothing is left undefined"
find "$tree" -name 'libpagesim.so*' | while read -r so; do
	if LC_ALL=C ldd -r "$so" 2>&1 | grep -E 'undefined symbol|not found'; then
		die "$so"
	fi
done
