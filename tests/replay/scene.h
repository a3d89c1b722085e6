/* SPDX-License-Identifier: MIT */
/*
 * Scenes of replay tests: a machine whose every cost is chosen so that a report can be added up by hand, and a trace written
 * down as bulk text.
 *
 *      CPU 0, 1 --- node 0 (dram)  100 ns read, 150 ns write
 *              \--- node 1 (cxl)   300 ns read, 450 ns write
 */
#ifndef TESTS_REPLAY_SCENE_H
#define TESTS_REPLAY_SCENE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cmocka_all.h"

#include <pagesim/alloc.h>
#include <pagesim/machine.h>
#include <pagesim/replay.h>
#include <pagesim/trace_file.h>
#include <pagesim/world.h>

#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* What things cost here; all other costs are 0. One byte is cleared or copied in one ns. */
#define L2_NS      3
#define STEP_NS    5
#define CACHE_NS   2
#define FAULT_NS   1000
#define SYSCALL_NS 100
#define SWITCH_NS  70

/**
 * Nodes of so many pages, CPUs on node 0 alone. Small nodes get page tables of 16 entries: huge pages of 16 pages, and address
 * spaces of 65536. The spec is static: one at a time.
 */
static inline struct ps_machine_spec *scene_spec(u64 pages0, u64 pages1)
{
	static struct ps_machine_spec spec;

	memset(&spec, 0, sizeof(spec));
	ps_machine_spec_init(&spec);
	strcpy(spec.name, "by-hand");
	spec.nr_nodes = pages1 ? 2 : 1;
	spec.node[0].bytes = pages0 << PAGE_SHIFT;
	spec.node[1].bytes = pages1 << PAGE_SHIFT;
	spec.node[1].kind = PS_MEMORY_CXL;
	spec.pt_bits = (pages0 | pages1) % 512 ? 4 : 9;
	spec.nr_cpus = 2;
	spec.min_free_kbytes = 4;
	memset(&spec.costs, 0, sizeof(spec.costs));
	spec.costs.tlb_l2_hit_ns = L2_NS;
	spec.costs.walk_step_ns = STEP_NS;
	spec.costs.cache_ns = CACHE_NS;
	spec.costs.fault_ns = FAULT_NS;
	spec.costs.syscall_ns = SYSCALL_NS;
	spec.costs.context_switch_ns = SWITCH_NS;
	spec.costs.copy_rate = spec.costs.zero_rate = 1000000000;
	for (int nid = 0; nid < 2; nid++) {
		spec.read_latency[0][nid] = nid ? 300 : 100;
		spec.write_latency[0][nid] = nid ? 450 : 150;
		spec.read_bandwidth[0][nid] = spec.write_bandwidth[0][nid] = 100000000000;
	}
	return &spec;
}

/** A reader of bulk text: header lines are added. @clock: "accesses", "instructions", "ns". */
static inline struct ps_trace_reader *scene_reader(const char *clock, const char *body)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	GError *error = NULL;
	struct ps_trace_reader *reader;

	assert_true(fd >= 0);
	dprintf(fd,
		"# pagesim bulk trace 1\nsource test\ncommand by hand\ncreated-by scene\nnote\nclock %s\nfold "
		"1\n%send\n",
		clock, body);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	reader = ps_trace_reader_new(fd, "hand.trace", &error);
	if (error)
		print_error("%s\n", error->message);
	assert_non_null(reader);
	return reader;
}

/** Replays a text to its end on a machine. Return: the replay, not yet freed. */
static inline struct ps_replay *scene_replay(const struct ps_machine_spec *spec,
					     const struct ps_replay_settings *settings, const char *clock,
					     const char *body)
{
	struct ps_replay_settings checked = settings ? *settings : (struct ps_replay_settings){ 0 };
	struct ps_trace_reader *reader = scene_reader(clock, body);
	GError *error = NULL;
	struct ps_replay *replay;

	checked.check = true;
	replay = ps_replay_new(spec, &checked, &error);
	if (error)
		fail_msg("%s", error->message);
	if (!ps_replay_run(replay, reader, &error))
		fail_msg("%s", error->message);
	ps_trace_reader_free(reader);
	return replay;
}

/* "failed by reason" adds up: every page that failed to move has one reason. */
static inline void scene_expect_reasons(const struct ps_report *report)
{
	u64 sum = 0;

	for (unsigned i = 0; i < PS_NR_MIGRATE_FAILURES; i++)
		sum += report->migrate_failed[i];
	assert_int_equal(sum, report->vmstat.value[ps_vmstat_find("pgmigrate_fail")]);
}

/** The same, ended, with its report. */
static inline void scene_report(const struct ps_machine_spec *spec, const struct ps_replay_settings *settings,
				const char *clock, const char *body, struct ps_report *report)
{
	struct ps_replay *replay = scene_replay(spec, settings, clock, body);

	ps_report_init(report);
	ps_replay_report(replay, report);
	ps_replay_free(replay);
	scene_expect_reasons(report);
}

/** The error a text ends with. Freed by g_free(). @report may be NULL. */
static inline char *scene_error(const struct ps_machine_spec *spec, const char *body, struct ps_report *report)
{
	struct ps_trace_reader *reader = scene_reader("accesses", body);
	GError *error = NULL;
	struct ps_replay *replay = ps_replay_new(spec, NULL, &error);
	char *message;

	if (error)
		fail_msg("%s", error->message);
	assert_false(ps_replay_run(replay, reader, &error));
	assert_non_null(error);
	message = g_strdup(error->message);
	g_error_free(error);
	if (report) {
		ps_report_init(report);
		ps_replay_report(replay, report);
	}
	ps_trace_reader_free(reader);
	ps_replay_free(replay);
	return message;
}

static inline u64 scene_counter(const struct ps_report *report, const char *name)
{
	int index = ps_vmstat_find(name);

	assert_true(index >= 0);
	return (u64)report->vmstat.value[index];
}

/** Proves that the library gave back everything. */
static inline int scene_nothing_left(void **state)
{
	struct ps_alloc_counts counts;

	(void)state;
	ps_alloc_counts(&counts);
	assert_int_equal(counts.live, 0);
	assert_int_equal(counts.reserved_bytes, 0);
	return 0;
}

#endif
