# SPDX-License-Identifier: MIT
# Lines of text to sort and count, n of them. The generator is its own, so that every awk makes the same ones.
function next_random() { seed = (seed * 1103515245 + 12345) % 2147483648; return int(seed / 8) }
BEGIN { seed = 42; for (i = 0; i < n; i++) printf "%09d user%05d %s\n", next_random(), next_random() % 50000, "field" next_random() % 1000 "-abcdefghijklmnopqrstuvwxyz" }
