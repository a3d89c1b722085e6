/* SPDX-License-Identifier: MIT */
/*
 * Random scripts of the trace language. A script follows from its number alone (and from which optional words the build
 * has): the same number, the same text. Each script is given a machine and a few themes, and statements of those themes
 * only, so that states become deep instead of broad; every few statements something is looked at. What fails is therefore
 * a script anybody can run: `pagesim replay FILE.pgs --check`.
 *
 * Two kinds:
 *   model   any machine, mostly small ones whose huge pages have few pages; every word the build has; nothing is held back:
 *           memory may run out, nodes may be absent. The script ends with everything given up
 *   linux   the golden guest, and only what a real 6.1 answers the same way every time: for recording
 *           (inode numbers under interleave, a disk that is still writing, memory pressure are left out)
 */
#ifndef TESTS_RANDOM_GENERATE_H
#define TESTS_RANDOM_GENERATE_H

#include <stdbool.h>

#include <pagesim/types.h>

/** Words a build may lack. X(NAME, a statement that shows whether it has them). `r` is a mapped region of task A. */
#define RANDOM_OPTIONAL_WORDS(X)                                                                 \
	X(PAGEOUT, "A madvise r pageout")                                                        \
	X(COLLAPSE, "A madvise r collapse")                                                      \
	X(SWAP, "kernel swap on")                                                                \
	X(COMPACT, "kernel compact")                                                             \
	X(BALLOON, "kernel balloon +1\nkernel balloon -1")                                       \
	X(RECLAIM, "kernel reclaim 0 1")                                                         \
	X(WRITEBACK, "A pwrite /d/f[0]\nkernel writeback /d/f begin\nkernel writeback /d/f end") \
	X(EXCHANGE, "A exchange r[0] with A r[1]")                                               \
	X(WEIGHTED, "A mempolicy weighted 0:1")                                                  \
	X(SET_DEMOTION, "kernel set demotion_enabled 0")                                         \
	X(SET_BALANCING, "kernel set numa_balancing 0")                                          \
	X(SET_SHMEM, "kernel set shmem_enabled advise")                                          \
	X(SET_DEFRAG, "kernel set thp_defrag madvise")                                           \
	X(SET_SWAPPINESS, "kernel set swappiness 60")

/* clang-format off */
enum random_word {
#define RANDOM_WORD_ENUM(name, probe) RANDOM_##name,
	RANDOM_OPTIONAL_WORDS(RANDOM_WORD_ENUM)
#undef RANDOM_WORD_ENUM
	RANDOM_WORDS
};
/* clang-format on */

struct random_settings {
	u64 number;
	bool for_linux;
	u32 words;               /* bit per enum random_word: what the build has */
	unsigned int statements; /* about so many besides looking; 0 = by number, 25 to 120 */
	const char *machine;     /* NULL: by number */
};

/** Bits of the optional words this build has, found by running a statement of each. */
u32 random_words(void);

/** Whether memory may run out on the machine of this script, which then ends there. */
bool random_script_is_tight(const struct random_settings *settings);

/** Return: the script's text, freed with g_free(). */
char *random_script(const struct random_settings *settings);

#endif
