/* SPDX-License-Identifier: MIT */
/* Reading /proc/vmstat and saying the difference. */
#include "counters.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <pagesim/vmstat.h>

#include "say.h"
#include "small_files.h"

#define MAX_COUNTERS 128

static const struct {
	const char *name;
	unsigned int flags;
} known[] = {
/* clang-format off */
#define KNOWN(constant, name, flags) { #name, flags },
	PS_ZONE_STATS(KNOWN)
	PS_NUMA_STATS(KNOWN)
	PS_NODE_STATS(KNOWN)
	PS_VM_EVENTS(KNOWN)
#undef KNOWN
	/* clang-format on */
};

static struct counter {
	char name[48];
	u64 value; /* after the last statement */
	u64 told;  /* when `kernel vmstat` last told it */
} counters[MAX_COUNTERS];
static unsigned int nr_counters;

bool counter_is_watched(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].flags & PS_VMSTAT_WATCHED;
	return false;
}

static void say_change(bool *any, const char *name, u64 before, u64 now)
{
	if (now == before)
		return;
	say("%s%s%+" PRId64, *any ? " " : "  vmstat: ", name, (s64)(now - before));
	*any = true;
}

/* The next line "NAME VALUE" of the file. Return: its name, NULL at the end. */
static char *next_counter(char **rest, u64 *ret_value)
{
	char *line = strsep(rest, "\n"), *space = line ? strchr(line, ' ') : NULL;

	if (!space)
		return NULL;
	*space = '\0';
	*ret_value = strtoull(space + 1, NULL, 10);
	return line;
}

static ssize_t read_vmstat(char **ret)
{
	static char text[32768];

	*ret = text;
	return small_file_read("/proc/vmstat", text, sizeof(text));
}

int counters_begin(void)
{
	char *rest, *name;
	ssize_t n = read_vmstat(&rest);
	u64 value;

	if (n < 0)
		return (int)n;
	nr_counters = 0;
	while ((name = next_counter(&rest, &value))) {
		struct counter *c = &counters[nr_counters];

		if (nr_counters == MAX_COUNTERS || strlen(name) >= sizeof(c->name) || !counter_is_watched(name))
			continue;
		strcpy(c->name, name);
		c->value = value;
		c->told = value;
		nr_counters++;
	}
	return 0;
}

/* The file has the same lines in the same order each time: one pass over both lists. */
void counters_after_statement(bool say_it)
{
	char *rest, *name;
	unsigned int i = 0;
	bool any = false;
	u64 value;

	if (read_vmstat(&rest) < 0)
		return;
	while (i < nr_counters && (name = next_counter(&rest, &value))) {
		struct counter *c = &counters[i];

		if (strcmp(c->name, name))
			continue;
		if (say_it)
			say_change(&any, name, c->value, value);
		c->value = value;
		i++;
	}
	if (any)
		say("\n");
}

void counters_since_last_time(void)
{
	bool any = false;

	for (unsigned int i = 0; i < nr_counters; i++) {
		say_change(&any, counters[i].name, counters[i].told, counters[i].value);
		counters[i].told = counters[i].value;
	}
	if (any)
		say("\n");
}

void counters_names(void)
{
	for (unsigned int i = 0; i < nr_counters; i++)
		say("  %s\n", counters[i].name);
}
