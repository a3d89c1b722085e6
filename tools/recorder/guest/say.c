/* SPDX-License-Identifier: MIT */
/* The words of the transcript. */
#include "say.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <pagesim/errname.h>

static struct transcript *transcript;

void say_into(struct transcript *to)
{
	transcript = to;
	transcript->length = 0;
	transcript->full = false;
	transcript->text[0] = '\0';
}

void say(const char *format, ...)
{
	size_t room = sizeof(transcript->text) - transcript->length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(transcript->text + transcript->length, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room) {
		transcript->text[transcript->length] = '\0';
		transcript->full = true;
		return;
	}
	transcript->length += (u32)n;
}

void say_result(long ret)
{
	if (ret < 0)
		say("  = -%s\n", ps_errno_name((int)-ret));
	else
		say("  = %ld\n", ret);
}

void say_run(const char *prefix, u64 first, u64 last, u64 step)
{
	if (first == last)
		say("%s[%" PRIu64 "]", prefix, first);
	else if (step == 1)
		say("%s[%" PRIu64 ":%" PRIu64 "]", prefix, first, last + 1);
	else
		say("%s[%" PRIu64 ":%" PRIu64 ":%" PRIu64 "]", prefix, first, last + step, step);
}

void say_status(const char *prefix, const int *status, u64 first, u64 n, u64 step)
{
	u64 start = 0;

	for (u64 i = 1; i <= n; i++) {
		if (i < n && status[i] == status[start])
			continue;
		say(" ");
		say_run(prefix, first + start * step, first + (i - 1) * step, step);
		if (status[start] == STATUS_UNSET)
			say("=unset");
		else if (status[start] < 0)
			say("=-%s", ps_errno_name(-status[start]));
		else
			say("=%d", status[start]);
		start = i;
	}
}
