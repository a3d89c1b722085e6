/* SPDX-License-Identifier: MIT */
/*
 * Where impossible states are reported: one handler per host thread, and without one the C library's own "assertion
 * failed" so that a program that never heard of handlers still says where it died.
 */
#include <assert.h>
#include <stdlib.h>

#include <pagesim/bug.h>

static __thread struct ps_bug_handler thread_handler;

struct ps_bug_handler ps_bug_set_handler(struct ps_bug_handler handler)
{
	struct ps_bug_handler old = thread_handler;

	thread_handler = handler;
	return old;
}

struct ps_bug_handler ps_bug_get_handler(void)
{
	return thread_handler;
}

void ps_bug_at(const char *expr, const char *detail, const char *file, int line, const void *object)
{
	struct ps_bug bug = {
		.kind = PS_BUG, .expr = expr, .detail = detail, .file = file, .line = line, .object = object
	};

	if (thread_handler.fn)
		thread_handler.fn(thread_handler.arg, &bug);
	__assert_fail(detail ? detail : expr, file, (unsigned int)line, expr);
}

void ps_warn_at(enum ps_bug_kind kind, const char *expr, const char *file, int line, const void *object)
{
	struct ps_bug bug = { .kind = kind, .expr = expr, .file = file, .line = line, .object = object };

	if (thread_handler.fn)
		thread_handler.fn(thread_handler.arg, &bug);
}
