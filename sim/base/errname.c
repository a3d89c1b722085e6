/* SPDX-License-Identifier: MIT */
/* The names of error numbers, which the C library knows already. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <string.h>

#include <pagesim/errname.h>

/* Above the last errno of Linux. */
#define MAX_ERRNO 4095

const char *ps_errno_name(int err)
{
	const char *name;

	if (err < 0)
		err = err == INT32_MIN ? 0x7fffffff : -err;
	name = strerrorname_np(err);
	return name ? name : "E?";
}

int ps_errno_value(const char *name)
{
	int err;

	for (err = 0; err <= MAX_ERRNO; err++) {
		const char *known = strerrorname_np(err);

		if (known && !strcmp(known, name))
			return err;
	}
	return -EINVAL;
}
