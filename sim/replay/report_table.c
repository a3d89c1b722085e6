/* SPDX-License-Identifier: MIT */
/*
 * A report for people to read: the table.
 */
#include "replay/report_text.h"

/* One line: the number right-aligned, what it is, and a remark. Takes the number and the remark. */
static void line(GString *out, char *number, unsigned indent, const char *what, char *remark)
{
	gsize start;

	g_string_append_printf(out, "%18s  ", number);
	start = out->len;
	g_string_append_printf(out, "%*s%s", (int)indent * 2, "", what);
	if (remark && *remark) {
		while (out->len - start < 34)
			g_string_append_c(out, ' ');
		g_string_append_printf(out, " %s", remark);
	}
	g_string_append_c(out, '\n');
	g_free(number);
	g_free(remark);
}

static void count_line(GString *out, u64 value, unsigned indent, const char *what, char *remark)
{
	line(out, report_count_text(value), indent, what, remark);
}

/* Takes the text. */
static char *remark(char *text, const char *behind)
{
	char *all = g_strconcat(text, behind, NULL);

	g_free(text);
	return all;
}

static char *with_bytes(u64 pages)
{
	return report_bytes_text(pages << PAGE_SHIFT);
}

static void table_heading(const struct ps_report *r, GString *out)
{
	char *events = report_count_text(report_sum(r->events, PS_EVENT_KINDS));
	char *elapsed = report_time_text(r->elapsed_ns);

	g_string_append_printf(out, "Trace      %s\n", r->trace ? r->trace : "");
	if (r->source && *r->source)
		g_string_append_printf(out, "           %s%s%s\n", r->source, r->command && *r->command ? ": " : "",
				       r->command ? r->command : "");
	g_string_append_printf(
		out, "           %" G_GUINT64_FORMAT " process%s, %" G_GUINT64_FORMAT " thread%s, %s events\n",
		r->processes, r->processes == 1 ? "" : "es", r->threads, r->threads == 1 ? "" : "s", events);
	g_string_append_printf(out, "Machine    %s", r->machine ? r->machine : "");
	for (unsigned n = 0; n < r->nr_nodes; n++) {
		char *size = report_bytes_text(r->node[n].bytes);

		if (r->node[n].tier < 0)
			g_string_append_printf(out, "%s node %u no memory", n ? "," : ":", n);
		else
			g_string_append_printf(out, "%s node %u %s %s", n ? "," : ":", n, size,
					       ps_memory_kind_name(r->node[n].kind));
		if (r->node[n].nr_cpus)
			g_string_append_printf(out, " %u CPU%s", r->node[n].nr_cpus,
					       r->node[n].nr_cpus == 1 ? "" : "s");
		g_free(size);
	}
	g_string_append_printf(out, "\nPolicy     %s, generation %s, seed %" G_GUINT64_FORMAT "\n",
			       r->policy ? r->policy : "none", r->generation ? r->generation : "", r->seed);
	if (!r->complete)
		g_string_append_printf(out, "Stopped    %s\n", r->stopped ? r->stopped : "before the end of the trace");
	g_string_append_printf(out, "\n%18s  simulated time\n\n", elapsed);
	g_free(elapsed);
	g_free(events);
}

static void table_accesses(const struct ps_report *r, GString *out)
{
	u64 all = ps_report_accesses(r), memory = report_memory_accesses(r);

	count_line(out, all, 0, "accesses", NULL);
	if (r->reads)
		count_line(out, r->reads, 1, "reads", report_percent_text(r->reads, all));
	if (r->writes)
		count_line(out, r->writes, 1, "writes", report_percent_text(r->writes, all));
	if (r->fetches)
		count_line(out, r->fetches, 1, "instruction fetches", report_percent_text(r->fetches, all));
	count_line(out, memory, 0, "memory accesses",
		   remark(report_percent_text(memory, all), " of accesses, the others hit the CPU cache"));
	for (unsigned n = 0; n < r->nr_nodes; n++) {
		u64 here = r->node[n].reads + r->node[n].writes;
		char what[64];

		if (r->node[n].tier < 0)
			continue;
		g_snprintf(what, sizeof(what), "node %u, %s, tier %d", n, ps_memory_kind_name(r->node[n].kind),
			   r->node[n].tier);
		count_line(out, here, 1, what, report_percent_text(here, memory));
	}
	line(out, remark(report_ratio_text(r->memory_latency_ns, memory, 1), " ns"), 0, "mean memory latency",
	     remark(report_ratio_text(r->local_latency_ns, memory, 1), " ns if all were local"));
	line(out, report_time_text(report_lost(r)), 0, "lost against all-local",
	     remark(report_percent_text(report_lost(r), r->elapsed_ns), " of the simulated time"));
	if (r->auto_mapped_pages)
		count_line(out, r->auto_mapped_pages, 0, "pages mapped by replay",
			   g_strdup("the trace touches them and never maps them"));
	if (r->refused_accesses)
		count_line(out, r->refused_accesses, 0, "accesses refused",
			   g_strdup("their mapping forbids them; not replayed"));
	if (r->ignored_events)
		count_line(out, r->ignored_events, 0, "events ignored", NULL);
	g_string_append_c(out, '\n');
}

static void table_faults(const struct ps_report *r, GString *out)
{
	u64 all = report_sum(r->faults, PS_NR_FAULT_KINDS);

	count_line(out, all, 0, "faults", NULL);
	for (int k = 0; k < PS_NR_FAULT_KINDS; k++)
		if (r->faults[k])
			count_line(out, r->faults[k], 1, ps_fault_kind_name((enum ps_fault_kind)k),
				   report_percent_text(r->faults[k], all));
	g_string_append_c(out, '\n');
}

static void table_migration(const struct ps_report *r, GString *out)
{
	u64 moved = report_counter(r, "pgmigrate_success"), failed = report_counter(r, "pgmigrate_fail"),
	    tried = moved + failed;
	u64 whole = report_counter(r, "thp_migration_success"), split = report_counter(r, "thp_migration_split");
	u64 thp_failed = report_counter(r, "thp_migration_fail");

	count_line(out, tried, 0, "pages tried to migrate", NULL);
	count_line(out, moved, 1, "moved", tried ? remark(report_percent_text(moved, tried), "") : NULL);
	if (failed)
		count_line(out, failed, 1, "failed", report_percent_text(failed, tried));
	for (int f = 0; f < PS_NR_MIGRATE_FAILURES; f++)
		if (r->migrate_failed[f])
			count_line(out, r->migrate_failed[f], 2, ps_migrate_failure_name((enum ps_migrate_failure)f),
				   NULL);
	if (whole + split + thp_failed) {
		count_line(out, whole, 1, "huge pages moved whole", NULL);
		count_line(out, split, 1, "huge pages split to move", NULL);
		count_line(out, thp_failed, 1, "huge pages failed", NULL);
	}
	count_line(out, report_promoted(r), 0, "pages promoted", with_bytes(report_promoted(r)));
	count_line(out, report_demoted(r), 0, "pages demoted", with_bytes(report_demoted(r)));
	g_string_append_c(out, '\n');
}

static void table_policy(const struct ps_report *r, GString *out)
{
	if (!r->policy_stat[0].name)
		return;
	g_string_append_printf(out, "%18s  the policy's own numbers\n", "");
	for (const struct ps_report_stat *stat = r->policy_stat; stat->name; stat++)
		count_line(out, stat->value, 1, stat->name, NULL);
	g_string_append_c(out, '\n');
}

static void table_tlb(const struct ps_report *r, GString *out)
{
	u64 all = r->tlb.l1_hits + r->tlb.l2_hits + r->tlb.misses;

	count_line(out, all, 0, "TLB lookups", NULL);
	count_line(out, r->tlb.l1_hits, 1, "first-level hits", report_percent_text(r->tlb.l1_hits, all));
	count_line(out, r->tlb.l2_hits, 1, "second-level hits", report_percent_text(r->tlb.l2_hits, all));
	count_line(out, r->tlb.misses, 1, "misses", report_percent_text(r->tlb.misses, all));
	count_line(out, report_counter(r, "nr_tlb_remote_flush"), 0, "TLB shootdowns",
		   r->tlb_interrupts ? remark(report_count_text(r->tlb_interrupts), " CPUs interrupted") : NULL);
	g_string_append_c(out, '\n');
}

static void table_locks(const struct ps_report *r, GString *out)
{
	u64 all = 0;

	for (int c = 0; c < NR_LOCK_CLASSES; c++)
		all += r->locks[c].waits;
	count_line(out, all, 0, "waits for a lock", NULL);
	for (int c = 0; c < NR_LOCK_CLASSES; c++) {
		const struct ps_lock_class_stats *lock = &r->locks[c];
		char *total, *most;

		if (!lock->waits)
			continue;
		total = report_time_text(lock->total_ns);
		most = report_time_text(lock->max_ns);
		count_line(out, lock->waits, 1, ps_lock_class_text((enum lock_class)c),
			   g_strdup_printf("%s in all, %s at most", total, most));
		g_free(total);
		g_free(most);
	}
	g_string_append_c(out, '\n');
}

static void table_times(const struct ps_report_time *time, const char *whose, GString *out)
{
	u64 all = report_sum(time->ns, NR_TIME);

	line(out, report_time_text(all), 0, whose, NULL);
	for (unsigned c = 0; c < NR_TIME; c++)
		if (time->ns[c])
			line(out, report_time_text(time->ns[c]), 1, ps_time_class_name((enum ps_time_class)c),
			     report_percent_text(time->ns[c], all));
}

static void table_resident(const struct ps_report *r, GString *out)
{
	u64 peak = ps_report_peak_pages(r);

	g_string_append_c(out, '\n');
	count_line(out, peak, 0, "pages resident at the most", with_bytes(peak));
	for (unsigned n = 0; n < r->nr_nodes; n++) {
		char what[32];

		if (r->node[n].tier < 0)
			continue;
		g_snprintf(what, sizeof(what), "node %u", n);
		count_line(out, r->node[n].peak_pages, 1, what, report_percent_text(r->node[n].peak_pages, peak));
	}
}

static void append_padded(GString *out, char *text, int width)
{
	g_string_append_printf(out, "%*s", width, text);
	g_free(text);
}

/* A few columns of the intervals, for people; the others are in JSON and CSV. */
static void table_rows(const struct ps_report *r, GString *out)
{
	char *interval = report_time_text(r->interval_ns);
	unsigned nodes = PS_REPORT_FIXED_COLUMNS + NR_TIME;

	g_string_append_printf(out, "\nEvery %s:\n%12s%14s%12s", interval, "until", "accesses", "latency");
	for (unsigned n = 0; n < r->nr_nodes; n++)
		if (r->node[n].tier >= 0)
			g_string_append_printf(out, "%7s %-2u", "node", n);
	g_string_append_printf(out, "%10s%10s%10s%10s%10s\n", "faults", "hints", "promoted", "demoted", "migrated");
	for (size_t i = 0; i < r->nr_rows; i++) {
		const u64 *row = r->rows + i * r->nr_columns;

		append_padded(out, report_time_text(row[PS_REPORT_COLUMN_END]), 12);
		append_padded(out, report_count_text(row[PS_REPORT_COLUMN_ACCESSES]), 14);
		append_padded(out,
			      remark(report_ratio_text(row[PS_REPORT_COLUMN_LATENCY], row[PS_REPORT_COLUMN_MEMORY], 1),
				     " ns"),
			      12);
		for (unsigned n = 0; n < r->nr_nodes; n++)
			if (r->node[n].tier >= 0)
				append_padded(out, report_percent_text(row[nodes + n], row[PS_REPORT_COLUMN_MEMORY]),
					      10);
		append_padded(out, report_count_text(row[PS_REPORT_COLUMN_FAULTS]), 10);
		append_padded(out, report_count_text(row[PS_REPORT_COLUMN_HINT_FAULTS]), 10);
		append_padded(out, report_count_text(row[PS_REPORT_COLUMN_PROMOTED]), 10);
		append_padded(out, report_count_text(row[PS_REPORT_COLUMN_DEMOTED]), 10);
		append_padded(out, report_count_text(row[PS_REPORT_COLUMN_MIGRATED]), 10);
		g_string_append_c(out, '\n');
	}
	g_free(interval);
}

void ps_report_write_host(const struct ps_report *r, GString *out)
{
	char *rate = report_count_text(report_host_rate(r));
	char *bytes = report_bytes_text(r->host_bytes);

	g_string_append_printf(out, "host speed: %s accesses/s (%.3f s)\n", rate, r->host_seconds);
	g_string_append_printf(out, "host memory: %" G_GUINT64_FORMAT " bytes per resident page (%s)\n",
			       report_host_bytes_per_page(r), bytes);
	g_free(rate);
	g_free(bytes);
}

void report_write_table(const struct ps_report *r, bool host, unsigned index, GString *out)
{
	if (index)
		g_string_append_c(out, '\n');
	table_heading(r, out);
	table_accesses(r, out);
	table_faults(r, out);
	table_migration(r, out);
	table_policy(r, out);
	table_tlb(r, out);
	table_locks(r, out);
	table_times(&r->program, "time of the program", out);
	if (report_sum(r->kernel.ns, NR_TIME))
		table_times(&r->kernel, "time of kernel threads", out);
	table_resident(r, out);
	if (r->interval_ns)
		table_rows(r, out);
	if (host) {
		g_string_append_c(out, '\n');
		ps_report_write_host(r, out);
	}
}
