/* SPDX-License-Identifier: MIT */
/*
 * What a replay has counted: the peak of resident memory, the rows of the intervals, the report.
 */
#include "replay/run.h"

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/fault.h>
#include <pagesim/migrate.h>
#include <pagesim/policy.h>

/* More rows than this, and the interval was a mistake. */
#define MAX_ROWS (1u << 22)
/* Columns on the largest machine. */
#define MAX_COLUMNS (PS_REPORT_FIXED_COLUMNS + PS_NR_TIME_CLASSES + 2 * MAX_NUMNODES)

/* ---- what is resident */

static u64 resident(const struct ps_replay *r, nid_t nid)
{
	const struct ps_stats *stats = r->world->stats;

	return (u64)ps_vmstat_read(stats, nid, PS_VMSTAT_NODE_BASE + NR_ANON_MAPPED) +
	       (u64)ps_vmstat_read(stats, nid, PS_VMSTAT_NODE_BASE + NR_FILE_PAGES);
}

void replay_note_peak(struct ps_replay *r)
{
	const struct ps_stats *stats = r->world->stats;
	u64 total = 0;
	unsigned nid;

	for (nid = 0; nid < r->machine->nr_nodes; nid++)
		total += (u64)stats->node[nid][NR_ANON_MAPPED] + (u64)stats->node[nid][NR_FILE_PAGES];
	if (total <= r->peak_total)
		return;
	r->peak_total = total;
	for (nid = 0; nid < r->machine->nr_nodes; nid++)
		r->peak[nid] = resident(r, (nid_t)nid);
}

/* ---- the report */

static void add_times(struct ps_report_time *to, const struct task_struct *task)
{
	for (int c = 0; c < PS_NR_TIME_CLASSES; c++)
		to->ns[c] += task->time[c];
}

/* ns of a memory access on the nearest node. */
static u64 local_ns(const struct ps_machine *m, nid_t cpu_nid, bool write)
{
	u64 least = UINT64_MAX;
	nid_t nid;

	for_each_node_mask(nid, m->memory_nodes) least = ps_min(least, (u64)ps_access_ns(m, cpu_nid, nid, write));
	return least;
}

static void report_accesses(const struct ps_replay *r, struct ps_report *report)
{
	const struct ps_machine *m = r->machine;

	for (unsigned cpu_nid = 0; cpu_nid < m->nr_nodes; cpu_nid++) {
		u64 local[2] = { local_ns(m, (nid_t)cpu_nid, false), local_ns(m, (nid_t)cpu_nid, true) };

		for (unsigned nid = 0; nid < m->nr_nodes; nid++) {
			const u64 *count = r->count[cpu_nid][nid];

			report->node[nid].reads += count[0];
			report->node[nid].writes += count[1];
			report->memory_latency_ns += count[0] * ps_access_ns(m, (nid_t)cpu_nid, (nid_t)nid, false) +
						     count[1] * ps_access_ns(m, (nid_t)cpu_nid, (nid_t)nid, true);
			report->local_latency_ns += count[0] * local[0] + count[1] * local[1];
		}
	}
}

static void report_times(const struct ps_replay *r, struct ps_report *report)
{
	const struct task_struct *task = NULL;

	report->program = r->program;
	for (guint i = 0; i < r->tasks.n; i++) {
		const struct replay_task *t = replay_task_at(r, i);

		if (t->task)
			add_times(&report->program, t->task);
	}
	while ((task = ps_task_next(r->world->rt, task)))
		if (!ps_task_is_hosted(task))
			add_times(&report->kernel, task);
	report->kernel.ns[PS_TIME_IDLE] = 0;
}

static ps_ns_t elapsed(const struct ps_replay *r)
{
	return r->last_now - r->origin;
}

/* The numbers of a report, without texts and rows. */
static void fill(struct ps_replay *r, struct ps_report *report)
{
	const struct ps_machine *m = r->machine;

	report->contents = r->set.contents;
	report->seed = r->set.seed;
	report->clock = r->clock;
	report->nr_cpus = m->nr_cpus;
	report->nr_nodes = m->nr_nodes;
	replay_note_peak(r);
	for (unsigned nid = 0; nid < m->nr_nodes; nid++) {
		const struct ps_node *node = &m->nodes[nid];

		report->node[nid] = (struct ps_report_node){
			.bytes = node->present_pages << PAGE_SHIFT,
			.kind = node->kind,
			.tier = node->tier,
			.nr_cpus = node->nr_cpus,
			.resident_pages = resident(r, (nid_t)nid),
			.peak_pages = r->peak[nid],
		};
	}
	report->records = r->records;
	report->reads = r->reads;
	report->writes = r->writes;
	report->fetches = r->fetches;
	memcpy(report->events, r->events, sizeof(r->events));
	report->processes = r->processes;
	report->threads = r->threads;
	report->auto_mapped_pages = r->auto_mapped;
	report->refused_accesses = r->refused;
	report->ignored_events = r->ignored;
	report->elapsed_ns = elapsed(r);
	report_accesses(r, report);
	report_times(r, report);
	memcpy(report->faults, m->faults->count, sizeof(report->faults));
	memcpy(report->migrate_failed, m->engines->failed, sizeof(report->migrate_failed));
	for (unsigned cpu = 0; cpu < m->nr_cpus; cpu++) {
		struct ps_tlb_counts counts;

		ps_tlb_counts(&m->cpus[cpu].tlb, &counts);
		report->tlb.l1_hits += counts.l1_hits;
		report->tlb.l2_hits += counts.l2_hits;
		report->tlb.misses += counts.misses;
		report->tlb_interrupts += m->cpus[cpu].ipis;
	}
	for (int c = 0; c < NR_LOCK_CLASSES; c++)
		ps_lock_class_stats(r->world->rt, (enum lock_class)c, &report->locks[c]);
	ps_vmstat_snapshot(r->world->stats, NUMA_NO_NODE, &report->vmstat);
	report->page_bytes = PAGE_SIZE << m->pt_bits;
	for (unsigned i = 0; i < PS_REPORT_POLICY_STATS; i++) {
		struct ps_report_stat *stat = &report->policy_stat[i];

		stat->name = ps_policy_stat(r->policy, i, &stat->value);
		if (!stat->name)
			break;
	}
}

/* ---- intervals */

void replay_totals(struct ps_replay *r, u64 *values)
{
	struct ps_report report;

	ps_report_init(&report);
	fill(r, &report);
	ps_report_totals(&report, values);
}

/* What happened between two totals. */
static void difference(u64 *row, const u64 *now, const u64 *before, unsigned nr_nodes)
{
	for (unsigned c = 0; c < ps_report_nr_columns(nr_nodes); c++)
		row[c] = ps_report_column_is_gauge(c, nr_nodes) ? now[c] : now[c] - before[c];
	row[PS_REPORT_COLUMN_START] = before[PS_REPORT_COLUMN_END];
}

bool replay_close_row(struct ps_replay *r, ps_ns_t end)
{
	unsigned nr = ps_report_nr_columns(r->machine->nr_nodes);
	u64 now[MAX_COLUMNS];

	if (r->nr_rows == r->room_rows) {
		size_t room = r->room_rows ? 2 * r->room_rows : 64;
		u64 *rows;

		if (r->nr_rows >= MAX_ROWS)
			return replay_fail(r, PS_REPLAY_ERROR_ARGUMENT, "more than %u intervals: choose a longer one",
					   MAX_ROWS);
		rows = (u64 *)ps_realloc(r->rows, room * nr * sizeof(*rows));
		if (!rows)
			return replay_fail(r, PS_REPLAY_ERROR_MEMORY, "out of host memory");
		r->rows = rows;
		r->room_rows = room;
	}
	replay_totals(r, now);
	now[PS_REPORT_COLUMN_END] = end;
	difference(r->rows + r->nr_rows++ * nr, now, r->row_base, r->machine->nr_nodes);
	memcpy(r->row_base, now, nr * sizeof(*now));
	return true;
}

void ps_replay_report(struct ps_replay *r, struct ps_report *report)
{
	const struct ps_machine_spec *spec = r->machine->spec;
	unsigned nr = ps_report_nr_columns(r->machine->nr_nodes);
	u64 now[MAX_COLUMNS];

	ps_report_destroy(report);
	fill(r, report);
	report->trace = g_strdup(r->trace ? r->trace : "");
	report->source = g_strdup(r->source ? r->source : "");
	report->command = g_strdup(r->command ? r->command : "");
	report->machine = g_strdup(spec->name);
	report->description = g_strdup(spec->description);
	report->policy = g_strdup(r->policy_text->str);
	report->generation = g_strdup(r->machine->engines->recipe->name);
	report->complete = r->ended && !r->failed;
	report->stopped = r->failed ? g_strdup(r->failed->message) : NULL;

	report->interval_ns = r->set.interval_ns;
	report->nr_columns = nr;
	if (!r->set.interval_ns)
		return;
	report->rows = (u64 *)ps_calloc(r->nr_rows + 1, nr * sizeof(u64));
	if (!report->rows) {
		/* Rows nobody can be shown are said to be missing. */
		report->complete = false;
		if (!report->stopped)
			report->stopped = g_strdup("out of host memory: the intervals are not shown");
		return;
	}
	report->nr_rows = report->room_rows = r->nr_rows;
	if (r->nr_rows)
		memcpy(report->rows, r->rows, r->nr_rows * nr * sizeof(u64));
	/* The interval that is still open. */
	ps_report_totals(report, now);
	if (now[PS_REPORT_COLUMN_END] > r->row_base[PS_REPORT_COLUMN_END]) {
		difference(report->rows + r->nr_rows * nr, now, r->row_base, r->machine->nr_nodes);
		report->nr_rows++;
	}
}
