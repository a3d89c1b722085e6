/* SPDX-License-Identifier: MIT */
/*
 * Listeners of tracepoints and the text of events. The formatting switch follows from the list in tracepoint.h.
 */
#include <stdio.h>
#include <string.h>

#include <pagesim/vmstat.h>

#define NAME(name, fields, print) #name,
static const char *const tracepoint_name[] = { PS_TRACEPOINTS(NAME) };
#undef NAME

static_assert(ARRAY_SIZE(tracepoint_name) == PS_NR_TRACEPOINTS, "one name per tracepoint");

/* In the order of enum migrate_mode and enum migrate_reason of Linux 6.1; engines/ asserts that its enums agree. */
static const char *const mode_name[] = { "MIGRATE_ASYNC", "MIGRATE_SYNC_LIGHT", "MIGRATE_SYNC" };
static const char *const reason_name[] = {
	"compaction",     "memory_failure", "memory_hotplug", "syscall_or_cpuset", "mempolicy_mbind",
	"numa_misplaced", "contig_range",   "longterm_pin",   "demotion",
};

const char *ps_migrate_mode_name(int mode)
{
	return mode >= 0 && (size_t)mode < ARRAY_SIZE(mode_name) ? mode_name[mode] : "?";
}

const char *ps_migrate_reason_name(int reason)
{
	return reason >= 0 && (size_t)reason < ARRAY_SIZE(reason_name) ? reason_name[reason] : "?";
}

static bool tracepoint_exists(int tracepoint)
{
	return tracepoint >= 0 && tracepoint < PS_NR_TRACEPOINTS;
}

int ps_probe_register(struct ps_stats *stats, struct ps_probe *probe)
{
	struct ps_probe **at;

	if (!tracepoint_exists((int)probe->tracepoint) || !probe->fn)
		return -EINVAL;
	for (at = &stats->probe[probe->tracepoint]; *at; at = &(*at)->next)
		if (*at == probe)
			return -EEXIST;
	probe->next = NULL;
	*at = probe;
	return 0;
}

int ps_probe_unregister(struct ps_stats *stats, struct ps_probe *probe)
{
	struct ps_probe **at;

	if (!tracepoint_exists((int)probe->tracepoint))
		return -ENOENT;
	for (at = &stats->probe[probe->tracepoint]; *at; at = &(*at)->next) {
		if (*at != probe)
			continue;
		*at = probe->next;
		probe->next = NULL;
		return 0;
	}
	return -ENOENT;
}

void ps_trace_deliver(struct ps_stats *stats, enum ps_tracepoint tracepoint, const void *event)
{
	struct ps_probe *next;

	for (struct ps_probe *probe = stats->probe[tracepoint]; probe; probe = next) {
		next = probe->next;
		probe->fn(probe->arg, tracepoint, event);
	}
}

const char *ps_tracepoint_name(int tracepoint)
{
	return tracepoint_exists(tracepoint) ? tracepoint_name[tracepoint] : NULL;
}

int ps_tracepoint_find(const char *name)
{
	for (int i = 0; i < PS_NR_TRACEPOINTS; i++)
		if (!strcmp(tracepoint_name[i], name))
			return i;
	return -ENOENT;
}

#define PRINT(...) snprintf(buf, size, __VA_ARGS__)
#define FORMAT(name, fields, print)                                                      \
	case PS_TP_##name: {                                                             \
		const struct ps_event_##name *e = (const struct ps_event_##name *)event; \
		return PRINT print;                                                      \
	}

int ps_tracepoint_format(char *buf, size_t size, int tracepoint, const void *event)
{
	switch (tracepoint) {
		PS_TRACEPOINTS(FORMAT)
	default:
		return -ENOENT;
	}
}
