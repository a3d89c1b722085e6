/* SPDX-License-Identifier: MIT */
/*
 * The transcript of the script being run. It lies in memory shared with init: when the script hangs and is killed, what it
 * has said so far is still there.
 */
#ifndef GUEST_SAY_H
#define GUEST_SAY_H

#include <pagesim/types.h>

struct transcript {
	u32 length;
	bool full; /* something did not fit: what is there is not the whole transcript */
	char text[(8 << 20) - 8];
};

/** say_into() - everything said from now on goes to @to, which is emptied. */
void say_into(struct transcript *to);

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** say_result() - "  = N", or the name of the error when @ret is negative. */
void say_result(long ret);

/** say_run() - pages @first to @last by @step, both named: PREFIX[i], PREFIX[i:j] or PREFIX[i:j:step]. */
void say_run(const char *prefix, u64 first, u64 last, u64 step);

/** A page's entry of the status array that the kernel did not write. */
#define STATUS_UNSET (-9999)

/** say_status() - " RUN=STATUS" for each run of equal entries; status[i] is of page @first + i * @step. */
void say_status(const char *prefix, const int *status, u64 first, u64 n, u64 step);

#endif
