/* SPDX-License-Identifier: MIT */
/*
 * Running a script as a test: check_machine() after every statement, the shadow beside it, and at the end nothing left over
 * on the machine and in the host's memory. A run happens in a child process, so that whatever it does (a BUG, a crash, a
 * hang, a sanitizer's report) is one outcome among others, and a failing script can be run again and again to make it
 * smaller.
 */
#ifndef TESTS_RANDOM_RUN_H
#define TESTS_RANDOM_RUN_H

#include <stdbool.h>

#include <pagesim/types.h>

struct random_run {
	bool tight;             /* memory may run out: then the script ends, and that is all right */
	const char *generation; /* of the migrate engine; NULL: 6.1 */
	u64 fail_nth;           /* this allocation of the host's fails; 0: none */
};

struct random_outcome {
	bool failed;
	bool all_served; /* with fail_nth: the run made fewer allocations */
	u32 line;        /* of the statement that was under way or last ran */
	char kind
		[112]; /* what went wrong, without numbers that change from run to run: the same kind is the same fault */
	char text[640]; /* the same for people */
};

/** Runs a script in this process. A BUG or a crash ends the process. */
void random_run_here(const char *text, const struct random_run *run, struct random_outcome *ret);

/** Runs a script in a child. Return: whether all was well. */
bool random_run(const char *text, const struct random_run *run, struct random_outcome *ret);

/** What hears of scripts that a child of random_run_many() has finished, and of the one it died of. */
typedef void (*random_heard_fn)(void *arg, u64 number, const struct random_outcome *outcome);

/**
 * Runs the scripts numbered first to last (@make gives each one's text, freed with g_free(), and how to run it), many in
 * one child. @heard hears of each.
 */
void random_run_many(u64 first, u64 last, char *(*make)(void *arg, u64 number, struct random_run *ret_run),
		     random_heard_fn heard, void *arg);

/**
 * Makes a failing script smaller as long as it fails the same way: statements are left out by halves, quarters and so on.
 * Return: the script, freed with g_free(); run->fail_nth is the allocation that must fail in it. *@ret_runs: how many were
 * tried.
 */
char *random_shrink(const char *text, struct random_run *run, const struct random_outcome *outcome,
		    unsigned int *ret_runs);

#endif
