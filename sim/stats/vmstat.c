/* SPDX-License-Identifier: MIT */
/*
 * Counters by name and by place: the table of names follows from the four lists of vmstat.h, and everything here is a
 * walk over that table. Adding happens inline in the header; this file only reads.
 */
#include <stdio.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/vmstat.h>

struct vmstat_info {
	const char *name;
	unsigned flags;
};

#define INFO(item, name, flags) { #name, flags },
static const struct vmstat_info vmstat_info[] = { PS_ZONE_STATS(INFO) PS_NUMA_STATS(INFO) PS_NODE_STATS(INFO)
							  PS_VM_EVENTS(INFO) };
#undef INFO

static_assert(ARRAY_SIZE(vmstat_info) == PS_NR_VMSTAT, "one name per counter");

struct ps_stats *ps_stats_new(void)
{
	return (struct ps_stats *)ps_zalloc(sizeof(struct ps_stats));
}

void ps_stats_free(struct ps_stats *stats)
{
	ps_free(stats);
}

static bool vmstat_exists(int index)
{
	return index >= 0 && index < PS_NR_VMSTAT;
}

const char *ps_vmstat_name(int index)
{
	return vmstat_exists(index) ? vmstat_info[index].name : NULL;
}

unsigned ps_vmstat_flags(int index)
{
	return vmstat_exists(index) ? vmstat_info[index].flags : 0;
}

int ps_vmstat_find(const char *name)
{
	for (int i = 0; i < PS_NR_VMSTAT; i++)
		if (!strcmp(vmstat_info[i].name, name))
			return i;
	return -ENOENT;
}

/* The raw value of a counter on one node; events have none. */
static s64 vmstat_of_node(const struct ps_stats *stats, nid_t nid, int index)
{
	if (index >= PS_VMSTAT_EVENT_BASE)
		return 0;
	if (index >= PS_VMSTAT_NODE_BASE)
		return ps_stat_read(&stats->node[nid][index - PS_VMSTAT_NODE_BASE]);
	if (index >= PS_VMSTAT_NUMA_BASE)
		return (s64)ps_stat_read(&stats->numa[nid][index - PS_VMSTAT_NUMA_BASE]);

	s64 sum = 0;

	for (int zid = 0; zid < PS_STATS_ZONES; zid++)
		sum += ps_stat_read(&stats->zone[nid][zid][index - PS_VMSTAT_ZONE_BASE]);
	return sum;
}

s64 ps_vmstat_read(const struct ps_stats *stats, nid_t nid, int index)
{
	s64 value = 0;

	if (!vmstat_exists(index) || nid >= MAX_NUMNODES)
		return 0;
	if (nid >= 0)
		value = vmstat_of_node(stats, nid, index);
	else if (index >= PS_VMSTAT_EVENT_BASE)
		return (s64)ps_stat_read(&stats->event[index - PS_VMSTAT_EVENT_BASE]);
	else
		for (nid_t n = 0; n < MAX_NUMNODES; n++)
			value += vmstat_of_node(stats, n, index);
	if (vmstat_info[index].flags & PS_VMSTAT_IN_THP)
		value /= stats->thp_pages ? stats->thp_pages : 512;
	return value;
}

void ps_vmstat_snapshot(const struct ps_stats *stats, nid_t nid, struct ps_vmstat *ret)
{
	for (int i = 0; i < PS_NR_VMSTAT; i++)
		ret->value[i] = ps_vmstat_read(stats, nid, i);
}

void ps_vmstat_delta(const struct ps_vmstat *now, const struct ps_vmstat *before, struct ps_vmstat *ret)
{
	for (int i = 0; i < PS_NR_VMSTAT; i++)
		ret->value[i] = now->value[i] - before->value[i];
}

int ps_vmstat_format(char *buf, size_t size, int index, s64 value)
{
	if (!vmstat_exists(index))
		return -ENOENT;
	return snprintf(buf, size, "%s %lld", vmstat_info[index].name, (long long)value);
}

int ps_vmstat_format_watched(char *buf, size_t size, const struct ps_vmstat *delta)
{
	size_t at = 0;

	if (size)
		buf[0] = '\0';
	for (int i = 0; i < PS_NR_VMSTAT; i++) {
		if (!(vmstat_info[i].flags & PS_VMSTAT_WATCHED) || !delta->value[i])
			continue;
		at += (size_t)snprintf(at < size ? buf + at : NULL, at < size ? size - at : 0, " %s%+lld",
				       vmstat_info[i].name, (long long)delta->value[i]);
	}
	return (int)at;
}
