/* SPDX-License-Identifier: MIT */
/*
 * The watched counters of /proc/vmstat. Which ones are watched is pagesim's own list (<pagesim/vmstat.h>), their order
 * the running kernel's; one the kernel does not have is not there.
 */
#ifndef GUEST_COUNTERS_H
#define GUEST_COUNTERS_H

#include <pagesim/types.h>

/** counters_begin() - from here on changes count. Return: 0, -errno of /proc/vmstat. */
int counters_begin(void);
/** counters_after_statement() - say what changed since the last call, if @say_it and anything did. */
void counters_after_statement(bool say_it);
/** counters_since_last_time() - say what changed up to the last statement since the previous call (or the beginning). */
void counters_since_last_time(void);
/** counters_names() - say the names of the watched counters there are. */
void counters_names(void);

/** counter_is_watched() - is @name in the list? */
bool counter_is_watched(const char *name);

#endif
