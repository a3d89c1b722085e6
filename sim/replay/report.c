/* SPDX-License-Identifier: MIT */
/*
 * Writing a report. Everything is integer arithmetic with fixed decimals, so that no host rounds differently; the one
 * floating-point number is the host's own time, which nobody expects to repeat.
 */
#include <pagesim/report.h>

#include <string.h>

#include <pagesim/alloc.h>

#include "replay/json.h"

__extension__ typedef unsigned __int128 u128;

#define NR_TIME ((unsigned)PS_NR_TIME_CLASSES)

int ps_report_format_from_word(const char *word)
{
	static const char *const words[] = { "table", "json", "csv", "vmstat" };

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		if (!strcmp(word, words[i]))
			return (int)i;
	return -ENOENT;
}

void ps_report_init(struct ps_report *report)
{
	memset(report, 0, sizeof(*report));
}

void ps_report_destroy(struct ps_report *report)
{
	if (!report)
		return;
	g_free(report->trace);
	g_free(report->source);
	g_free(report->command);
	g_free(report->machine);
	g_free(report->description);
	g_free(report->policy);
	g_free(report->generation);
	g_free(report->stopped);
	ps_free(report->rows);
	ps_report_init(report);
}

/* ---- columns */

/* clang-format off */
static const struct {
	const char *name;
	bool gauge;
} fixed[] = {
#define FIXED(name, text, kind) {text, PS_REPORT_##kind},
	PS_REPORT_COLUMNS(FIXED)
#undef FIXED
};
/* clang-format on */

unsigned ps_report_nr_columns(unsigned nr_nodes)
{
	return PS_REPORT_FIXED_COLUMNS + NR_TIME + 2 * nr_nodes;
}

void ps_report_column_name(unsigned i, unsigned nr_nodes, GString *out)
{
	if (i < PS_REPORT_FIXED_COLUMNS) {
		g_string_append(out, fixed[i].name);
	} else if ((i -= PS_REPORT_FIXED_COLUMNS) < NR_TIME) {
		g_string_append_printf(out, "%s_ns", ps_time_class_name((enum ps_time_class)i));
	} else if ((i -= NR_TIME) < nr_nodes) {
		g_string_append_printf(out, "node%u_accesses", i);
	} else if ((i -= nr_nodes) < nr_nodes) {
		g_string_append_printf(out, "node%u_resident_pages", i);
	} else {
		g_string_append_c(out, '?');
	}
}

bool ps_report_column_is_gauge(unsigned i, unsigned nr_nodes)
{
	if (i < PS_REPORT_FIXED_COLUMNS)
		return fixed[i].gauge;
	return i >= PS_REPORT_FIXED_COLUMNS + NR_TIME + nr_nodes;
}

static u64 counter(const struct ps_report *report, const char *name)
{
	int index = ps_vmstat_find(name);

	return index < 0 ? 0 : (u64)report->vmstat.value[index];
}

static u64 promoted(const struct ps_report *report)
{
	return counter(report, "pgpromote_success");
}

static u64 demoted(const struct ps_report *report)
{
	return counter(report, "pgdemote_kswapd") + counter(report, "pgdemote_direct");
}

static u64 sum(const u64 *values, unsigned n)
{
	u64 total = 0;

	while (n--)
		total += values[n];
	return total;
}

static u64 memory_accesses(const struct ps_report *report)
{
	u64 total = 0;

	for (unsigned n = 0; n < report->nr_nodes; n++)
		total += report->node[n].reads + report->node[n].writes;
	return total;
}

static u64 lost(const struct ps_report *report)
{
	return report->memory_latency_ns - report->local_latency_ns;
}

void ps_report_totals(const struct ps_report *report, u64 *values)
{
	u64 *node = values + PS_REPORT_FIXED_COLUMNS + NR_TIME;

	values[PS_REPORT_COLUMN_START] = 0;
	values[PS_REPORT_COLUMN_END] = report->elapsed_ns;
	values[PS_REPORT_COLUMN_ACCESSES] = ps_report_accesses(report);
	values[PS_REPORT_COLUMN_MEMORY] = memory_accesses(report);
	values[PS_REPORT_COLUMN_LATENCY] = report->memory_latency_ns;
	values[PS_REPORT_COLUMN_LOST] = lost(report);
	values[PS_REPORT_COLUMN_TLB_MISSES] = report->tlb.misses;
	values[PS_REPORT_COLUMN_SHOOTDOWNS] = counter(report, "nr_tlb_remote_flush");
	values[PS_REPORT_COLUMN_FAULTS] = sum(report->faults, PS_NR_FAULT_KINDS);
	values[PS_REPORT_COLUMN_HINT_FAULTS] = report->faults[PS_FAULT_HINT];
	values[PS_REPORT_COLUMN_PROMOTED] = promoted(report);
	values[PS_REPORT_COLUMN_DEMOTED] = demoted(report);
	values[PS_REPORT_COLUMN_MIGRATED] = counter(report, "pgmigrate_success");
	values[PS_REPORT_COLUMN_MIGRATE_FAILED] = counter(report, "pgmigrate_fail");
	values[PS_REPORT_COLUMN_THP_MIGRATED] = counter(report, "thp_migration_success");
	memcpy(values + PS_REPORT_FIXED_COLUMNS, report->program.ns, sizeof(report->program.ns));
	for (unsigned n = 0; n < report->nr_nodes; n++) {
		node[n] = report->node[n].reads + report->node[n].writes;
		node[report->nr_nodes + n] = report->node[n].resident_pages;
	}
}

u64 ps_report_peak_pages(const struct ps_report *report)
{
	u64 total = 0;

	for (unsigned n = 0; n < report->nr_nodes; n++)
		total += report->node[n].peak_pages;
	return total;
}

/* ---- numbers as text */

/* part / whole with so many decimals, rounded half up; 0 of nothing is 0. */
static void append_ratio(GString *out, u128 part, u64 whole, unsigned decimals)
{
	u64 scale = 1, all;

	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	all = whole ? (u64)((part * scale + whole / 2) / whole) : 0;
	g_string_append_printf(out, "%" G_GUINT64_FORMAT, all / scale);
	if (decimals)
		g_string_append_printf(out, ".%0*" G_GUINT64_FORMAT, (int)decimals, all % scale);
}

static char *ratio_text(u64 part, u64 whole, unsigned decimals)
{
	GString *text = g_string_new(NULL);

	append_ratio(text, part, whole, decimals);
	return g_string_free(text, FALSE);
}

static char *percent_text(u64 part, u64 whole)
{
	GString *text = g_string_new(NULL);

	append_ratio(text, (u128)part * 100, whole, 2);
	g_string_append_c(text, '%');
	return g_string_free(text, FALSE);
}

/* 1,234,567 */
static char *count_text(u64 value)
{
	char digits[32];
	GString *text = g_string_new(NULL);
	int n = g_snprintf(digits, sizeof(digits), "%" G_GUINT64_FORMAT, value);

	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			g_string_append_c(text, ',');
		g_string_append_c(text, digits[i]);
	}
	return g_string_free(text, FALSE);
}

/* 384 ns, 13.130 us, 2.500 ms, 1.234 s */
static char *time_text(u64 ns)
{
	static const struct {
		u64 ns;
		const char *unit;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" } };
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
		/* What rounds up to 1.000 of the unit is shown in it. */
		if (ns + units[i].ns / 2000 >= units[i].ns) {
			append_ratio(text, ns, units[i].ns, 3);
			g_string_append_printf(text, " %s", units[i].unit);
			return g_string_free(text, FALSE);
		}
	}
	g_string_append_printf(text, "%" G_GUINT64_FORMAT " ns", ns);
	return g_string_free(text, FALSE);
}

/* 16.0 GiB, 768.0 MiB, 12.0 KiB */
static char *bytes_text(u64 bytes)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB" };
	GString *text = g_string_new(NULL);
	unsigned u = 0;

	while (u + 1 < G_N_ELEMENTS(unit) && bytes >> (10 * (u + 2)))
		u++;
	append_ratio(text, bytes, 1ULL << (10 * (u + 1)), 1);
	g_string_append_printf(text, " %s", unit[u]);
	return g_string_free(text, FALSE);
}

/* ---- the table */

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
	line(out, count_text(value), indent, what, remark);
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
	return bytes_text(pages << PAGE_SHIFT);
}

static void table_heading(const struct ps_report *r, GString *out)
{
	char *events = count_text(sum(r->events, PS_EVENT_KINDS));
	char *elapsed = time_text(r->elapsed_ns);

	g_string_append_printf(out, "Trace      %s\n", r->trace ? r->trace : "");
	if (r->source && *r->source)
		g_string_append_printf(out, "           %s%s%s\n", r->source, r->command && *r->command ? ": " : "",
				       r->command ? r->command : "");
	g_string_append_printf(
		out, "           %" G_GUINT64_FORMAT " process%s, %" G_GUINT64_FORMAT " thread%s, %s events\n",
		r->processes, r->processes == 1 ? "" : "es", r->threads, r->threads == 1 ? "" : "s", events);
	g_string_append_printf(out, "Machine    %s", r->machine ? r->machine : "");
	for (unsigned n = 0; n < r->nr_nodes; n++) {
		char *size = bytes_text(r->node[n].bytes);

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
	u64 all = ps_report_accesses(r), memory = memory_accesses(r);

	count_line(out, all, 0, "accesses", NULL);
	if (r->reads)
		count_line(out, r->reads, 1, "reads", percent_text(r->reads, all));
	if (r->writes)
		count_line(out, r->writes, 1, "writes", percent_text(r->writes, all));
	if (r->fetches)
		count_line(out, r->fetches, 1, "instruction fetches", percent_text(r->fetches, all));
	count_line(out, memory, 0, "memory accesses",
		   remark(percent_text(memory, all), " of accesses, the others hit the CPU cache"));
	for (unsigned n = 0; n < r->nr_nodes; n++) {
		u64 here = r->node[n].reads + r->node[n].writes;
		char what[64];

		if (r->node[n].tier < 0)
			continue;
		g_snprintf(what, sizeof(what), "node %u, %s, tier %d", n, ps_memory_kind_name(r->node[n].kind),
			   r->node[n].tier);
		count_line(out, here, 1, what, percent_text(here, memory));
	}
	line(out, remark(ratio_text(r->memory_latency_ns, memory, 1), " ns"), 0, "mean memory latency",
	     remark(ratio_text(r->local_latency_ns, memory, 1), " ns if all were local"));
	line(out, time_text(lost(r)), 0, "lost against all-local",
	     remark(percent_text(lost(r), r->elapsed_ns), " of the simulated time"));
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
	u64 all = sum(r->faults, PS_NR_FAULT_KINDS);

	count_line(out, all, 0, "faults", NULL);
	for (int k = 0; k < PS_NR_FAULT_KINDS; k++)
		if (r->faults[k])
			count_line(out, r->faults[k], 1, ps_fault_kind_name((enum ps_fault_kind)k),
				   percent_text(r->faults[k], all));
	g_string_append_c(out, '\n');
}

static void table_migration(const struct ps_report *r, GString *out)
{
	u64 moved = counter(r, "pgmigrate_success"), failed = counter(r, "pgmigrate_fail"), tried = moved + failed;
	u64 whole = counter(r, "thp_migration_success"), split = counter(r, "thp_migration_split");
	u64 thp_failed = counter(r, "thp_migration_fail");

	count_line(out, tried, 0, "pages tried to migrate", NULL);
	count_line(out, moved, 1, "moved", tried ? remark(percent_text(moved, tried), "") : NULL);
	if (failed)
		count_line(out, failed, 1, "failed", percent_text(failed, tried));
	for (int f = 0; f < PS_NR_MIGRATE_FAILURES; f++)
		if (r->migrate_failed[f])
			count_line(out, r->migrate_failed[f], 2, ps_migrate_failure_name((enum ps_migrate_failure)f),
				   NULL);
	if (whole + split + thp_failed) {
		count_line(out, whole, 1, "huge pages moved whole", NULL);
		count_line(out, split, 1, "huge pages split to move", NULL);
		count_line(out, thp_failed, 1, "huge pages failed", NULL);
	}
	count_line(out, promoted(r), 0, "pages promoted", with_bytes(promoted(r)));
	count_line(out, demoted(r), 0, "pages demoted", with_bytes(demoted(r)));
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
	count_line(out, r->tlb.l1_hits, 1, "first-level hits", percent_text(r->tlb.l1_hits, all));
	count_line(out, r->tlb.l2_hits, 1, "second-level hits", percent_text(r->tlb.l2_hits, all));
	count_line(out, r->tlb.misses, 1, "misses", percent_text(r->tlb.misses, all));
	count_line(out, counter(r, "nr_tlb_remote_flush"), 0, "TLB shootdowns",
		   r->tlb_interrupts ? remark(count_text(r->tlb_interrupts), " CPUs interrupted") : NULL);
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
		total = time_text(lock->total_ns);
		most = time_text(lock->max_ns);
		count_line(out, lock->waits, 1, ps_lock_class_text((enum lock_class)c),
			   g_strdup_printf("%s in all, %s at most", total, most));
		g_free(total);
		g_free(most);
	}
	g_string_append_c(out, '\n');
}

static void table_times(const struct ps_report_time *time, const char *whose, GString *out)
{
	u64 all = sum(time->ns, NR_TIME);

	line(out, time_text(all), 0, whose, NULL);
	for (unsigned c = 0; c < NR_TIME; c++)
		if (time->ns[c])
			line(out, time_text(time->ns[c]), 1, ps_time_class_name((enum ps_time_class)c),
			     percent_text(time->ns[c], all));
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
		count_line(out, r->node[n].peak_pages, 1, what, percent_text(r->node[n].peak_pages, peak));
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
	char *interval = time_text(r->interval_ns);
	unsigned nodes = PS_REPORT_FIXED_COLUMNS + NR_TIME;

	g_string_append_printf(out, "\nEvery %s:\n%12s%14s%12s", interval, "until", "accesses", "latency");
	for (unsigned n = 0; n < r->nr_nodes; n++)
		if (r->node[n].tier >= 0)
			g_string_append_printf(out, "%7s %-2u", "node", n);
	g_string_append_printf(out, "%10s%10s%10s%10s%10s\n", "faults", "hints", "promoted", "demoted", "migrated");
	for (size_t i = 0; i < r->nr_rows; i++) {
		const u64 *row = r->rows + i * r->nr_columns;

		append_padded(out, time_text(row[PS_REPORT_COLUMN_END]), 12);
		append_padded(out, count_text(row[PS_REPORT_COLUMN_ACCESSES]), 14);
		append_padded(out,
			      remark(ratio_text(row[PS_REPORT_COLUMN_LATENCY], row[PS_REPORT_COLUMN_MEMORY], 1), " ns"),
			      12);
		for (unsigned n = 0; n < r->nr_nodes; n++)
			if (r->node[n].tier >= 0)
				append_padded(out, percent_text(row[nodes + n], row[PS_REPORT_COLUMN_MEMORY]), 10);
		append_padded(out, count_text(row[PS_REPORT_COLUMN_FAULTS]), 10);
		append_padded(out, count_text(row[PS_REPORT_COLUMN_HINT_FAULTS]), 10);
		append_padded(out, count_text(row[PS_REPORT_COLUMN_PROMOTED]), 10);
		append_padded(out, count_text(row[PS_REPORT_COLUMN_DEMOTED]), 10);
		append_padded(out, count_text(row[PS_REPORT_COLUMN_MIGRATED]), 10);
		g_string_append_c(out, '\n');
	}
	g_free(interval);
}

static u64 host_rate(const struct ps_report *r)
{
	return r->host_seconds > 0 ? (u64)((double)ps_report_accesses(r) / r->host_seconds) : 0;
}

static u64 host_bytes_per_page(const struct ps_report *r)
{
	u64 peak = ps_report_peak_pages(r);

	return peak ? r->host_bytes / peak : 0;
}

void ps_report_write_host(const struct ps_report *r, GString *out)
{
	char *rate = count_text(host_rate(r));
	char *bytes = bytes_text(r->host_bytes);

	g_string_append_printf(out, "host speed: %s accesses/s (%.3f s)\n", rate, r->host_seconds);
	g_string_append_printf(out, "host memory: %" G_GUINT64_FORMAT " bytes per resident page (%s)\n",
			       host_bytes_per_page(r), bytes);
	g_free(rate);
	g_free(bytes);
}

static void write_table(const struct ps_report *r, bool host, unsigned index, GString *out)
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
	if (sum(r->kernel.ns, NR_TIME))
		table_times(&r->kernel, "time of kernel threads", out);
	table_resident(r, out);
	if (r->interval_ns)
		table_rows(r, out);
	if (host) {
		g_string_append_c(out, '\n');
		ps_report_write_host(r, out);
	}
}

/* ---- JSON */

/* A number under a name for people: "NUMA hint" is numa_hint. */
static void json_named(struct json *j, const char *name, u64 value)
{
	char key[64];
	size_t i;

	for (i = 0; name[i] && i + 1 < sizeof(key); i++)
		key[i] = g_ascii_isalnum(name[i]) ? g_ascii_tolower(name[i]) : '_';
	key[i] = '\0';
	json_u64(j, key, value);
}

static void json_times(struct json *j, const char *key, const struct ps_report_time *time)
{
	GString *name = g_string_new(NULL);

	json_open(j, key, '{');
	for (unsigned c = 0; c < NR_TIME; c++) {
		g_string_printf(name, "%s_ns", ps_time_class_name((enum ps_time_class)c));
		json_u64(j, name->str, time->ns[c]);
	}
	json_close(j, '}');
	g_string_free(name, TRUE);
}

static void json_nodes(struct json *j, const struct ps_report *r)
{
	json_open(j, "nodes", '[');
	for (unsigned n = 0; n < r->nr_nodes; n++) {
		const struct ps_report_node *node = &r->node[n];

		json_open(j, NULL, '{');
		json_u64(j, "node", n);
		json_string(j, "kind", ps_memory_kind_name(node->kind));
		json_s64(j, "tier", node->tier);
		json_u64(j, "bytes", node->bytes);
		json_u64(j, "cpus", node->nr_cpus);
		json_u64(j, "reads", node->reads);
		json_u64(j, "writes", node->writes);
		json_u64(j, "resident_pages", node->resident_pages);
		json_u64(j, "peak_pages", node->peak_pages);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_trace(struct json *j, const struct ps_report *r)
{
	json_open(j, "trace", '{');
	json_string(j, "name", r->trace);
	json_string(j, "source", r->source);
	json_string(j, "command", r->command);
	json_string(j, "clock", ps_trace_clock_word(r->clock));
	json_bool(j, "complete", r->complete);
	if (r->stopped)
		json_string(j, "stopped", r->stopped);
	json_u64(j, "processes", r->processes);
	json_u64(j, "threads", r->threads);
	json_u64(j, "records", r->records);
	json_u64(j, "reads", r->reads);
	json_u64(j, "writes", r->writes);
	json_u64(j, "fetches", r->fetches);
	json_u64(j, "auto_mapped_pages", r->auto_mapped_pages);
	json_u64(j, "refused_accesses", r->refused_accesses);
	json_u64(j, "ignored_events", r->ignored_events);
	json_open(j, "events", '{');
	for (int k = 0; k < PS_EVENT_KINDS; k++)
		if (r->events[k])
			json_u64(j, ps_event_word((enum ps_event_kind)k), r->events[k]);
	json_close(j, '}');
	json_close(j, '}');
}

static void json_machine(struct json *j, const struct ps_report *r)
{
	json_open(j, "machine", '{');
	json_string(j, "name", r->machine);
	json_string(j, "description", r->description);
	json_u64(j, "cpus", r->nr_cpus);
	json_nodes(j, r);
	json_close(j, '}');
	json_open(j, "settings", '{');
	json_string(j, "policy", r->policy);
	json_string(j, "generation", r->generation);
	json_string(j, "contents", ps_contents_name(r->contents));
	json_u64(j, "seed", r->seed);
	json_u64(j, "interval_ns", r->interval_ns);
	json_close(j, '}');
}

static void json_migration(struct json *j, const struct ps_report *r)
{
	u64 moved = counter(r, "pgmigrate_success"), failed = counter(r, "pgmigrate_fail");

	json_open(j, "migration", '{');
	json_u64(j, "tried_pages", moved + failed);
	json_u64(j, "moved_pages", moved);
	json_u64(j, "failed_pages", failed);
	json_open(j, "failed_by_reason", '{');
	for (int f = 0; f < PS_NR_MIGRATE_FAILURES; f++)
		json_named(j, ps_migrate_failure_name((enum ps_migrate_failure)f), r->migrate_failed[f]);
	json_close(j, '}');
	json_u64(j, "thp_moved", counter(r, "thp_migration_success"));
	json_u64(j, "thp_split", counter(r, "thp_migration_split"));
	json_u64(j, "thp_failed", counter(r, "thp_migration_fail"));
	json_u64(j, "promoted_pages", promoted(r));
	json_u64(j, "promoted_bytes", promoted(r) << PAGE_SHIFT);
	json_u64(j, "demoted_pages", demoted(r));
	json_u64(j, "demoted_bytes", demoted(r) << PAGE_SHIFT);
	json_close(j, '}');
}

static void json_locks(struct json *j, const struct ps_report *r)
{
	json_open(j, "locks", '{');
	for (int c = 0; c < NR_LOCK_CLASSES; c++) {
		if (!r->locks[c].waits)
			continue;
		json_open(j, ps_lock_class_name((enum lock_class)c), '{');
		json_u64(j, "waits", r->locks[c].waits);
		json_u64(j, "total_ns", r->locks[c].total_ns);
		json_u64(j, "max_ns", r->locks[c].max_ns);
		json_close(j, '}');
	}
	json_close(j, '}');
}

static void json_rows(struct json *j, const struct ps_report *r)
{
	GString *name = g_string_new(NULL);

	json_open(j, "intervals", '{');
	json_open_inline(j, "columns", '[');
	for (unsigned c = 0; c < r->nr_columns; c++) {
		g_string_truncate(name, 0);
		ps_report_column_name(c, r->nr_nodes, name);
		json_string(j, NULL, name->str);
	}
	json_close(j, ']');
	json_open(j, "rows", '[');
	for (size_t i = 0; i < r->nr_rows; i++) {
		json_open_inline(j, NULL, '[');
		for (unsigned c = 0; c < r->nr_columns; c++)
			json_u64(j, NULL, r->rows[i * r->nr_columns + c]);
		json_close(j, ']');
	}
	json_close(j, ']');
	json_close(j, '}');
	g_string_free(name, TRUE);
}

static void write_json(const struct ps_report *r, bool host, unsigned index, GString *out)
{
	struct json j = { .out = out, .depth = 2 };
	GString *mean = g_string_new(NULL);

	if (!index)
		g_string_append(out, "{\n  \"schema\": \"" PS_REPORT_SCHEMA "\",\n  \"runs\": [\n    ");
	else
		g_string_append(out, ",\n    ");
	json_open(&j, NULL, '{');
	json_trace(&j, r);
	json_machine(&j, r);
	json_u64(&j, "elapsed_ns", r->elapsed_ns);
	json_open(&j, "accesses", '{');
	json_u64(&j, "total", ps_report_accesses(r));
	json_u64(&j, "memory", memory_accesses(r));
	json_u64(&j, "memory_latency_ns", r->memory_latency_ns);
	json_u64(&j, "local_latency_ns", r->local_latency_ns);
	append_ratio(mean, r->memory_latency_ns, memory_accesses(r), 3);
	json_raw(&j, "mean_memory_latency_ns", mean->str);
	json_u64(&j, "lost_ns", lost(r));
	json_close(&j, '}');
	json_open(&j, "faults", '{');
	for (int k = 0; k < PS_NR_FAULT_KINDS; k++)
		json_named(&j, ps_fault_kind_name((enum ps_fault_kind)k), r->faults[k]);
	json_close(&j, '}');
	json_migration(&j, r);
	json_open(&j, "policy", '{');
	for (const struct ps_report_stat *stat = r->policy_stat; stat->name; stat++)
		json_named(&j, stat->name, stat->value);
	json_close(&j, '}');
	json_open(&j, "tlb", '{');
	json_u64(&j, "l1_hits", r->tlb.l1_hits);
	json_u64(&j, "l2_hits", r->tlb.l2_hits);
	json_u64(&j, "misses", r->tlb.misses);
	json_u64(&j, "shootdowns", counter(r, "nr_tlb_remote_flush"));
	json_u64(&j, "interrupted_cpus", r->tlb_interrupts);
	json_close(&j, '}');
	json_locks(&j, r);
	json_times(&j, "program_time", &r->program);
	json_times(&j, "kernel_time", &r->kernel);
	json_open(&j, "vmstat", '{');
	for (int i = 0; i < PS_NR_VMSTAT; i++)
		json_s64(&j, ps_vmstat_name(i), r->vmstat.value[i]);
	json_close(&j, '}');
	if (r->interval_ns)
		json_rows(&j, r);
	if (host) {
		json_open(&j, "host", '{');
		g_string_printf(mean, "%.6f", r->host_seconds);
		json_raw(&j, "seconds", mean->str);
		json_u64(&j, "accesses_per_second", host_rate(r));
		json_u64(&j, "bytes", r->host_bytes);
		json_u64(&j, "bytes_per_resident_page", host_bytes_per_page(r));
		json_close(&j, '}');
	}
	json_close(&j, '}');
	g_string_free(mean, TRUE);
}

/* ---- CSV */

/* A field in quotes when it needs them. */
static void csv_text(GString *out, const char *text)
{
	if (!text)
		text = "";
	if (!strpbrk(text, ",\"\r\n")) {
		g_string_append(out, text);
		return;
	}
	g_string_append_c(out, '"');
	for (; *text; text++) {
		if (*text == '"')
			g_string_append_c(out, '"');
		g_string_append_c(out, *text);
	}
	g_string_append_c(out, '"');
}

static void csv_row(const struct ps_report *r, const char *kind, const u64 *values, bool host, bool total, GString *out)
{
	unsigned nr = ps_report_nr_columns(r->nr_nodes);

	g_string_append(out, PS_REPORT_SCHEMA ",");
	csv_text(out, r->trace);
	g_string_append_printf(out, ",%s", kind);
	for (unsigned c = 0; c < nr; c++)
		g_string_append_printf(out, ",%" G_GUINT64_FORMAT, values[c]);
	if (host && total)
		g_string_append_printf(out, ",%.6f,%" G_GUINT64_FORMAT, r->host_seconds, r->host_bytes);
	else if (host)
		g_string_append(out, ",,");
	g_string_append_c(out, '\n');
}

static void write_csv(const struct ps_report *r, bool host, unsigned index, GString *out)
{
	unsigned nr = ps_report_nr_columns(r->nr_nodes);
	u64 *totals = g_new0(u64, nr);

	if (!index) {
		g_string_append(out, "schema,trace,kind");
		for (unsigned c = 0; c < nr; c++) {
			g_string_append_c(out, ',');
			ps_report_column_name(c, r->nr_nodes, out);
		}
		g_string_append(out, host ? ",host_seconds,host_bytes\n" : "\n");
	}
	for (size_t i = 0; i < r->nr_rows; i++)
		csv_row(r, "interval", r->rows + i * r->nr_columns, host, false, out);
	ps_report_totals(r, totals);
	csv_row(r, r->complete ? "total" : "partial", totals, host, true, out);
	g_free(totals);
}

/* ---- vmstat */

static void write_vmstat(const struct ps_report *r, GString *out)
{
	char text[128];

	for (int i = 0; i < PS_NR_VMSTAT; i++)
		if (ps_vmstat_format(text, sizeof(text), i, r->vmstat.value[i]) > 0)
			g_string_append_printf(out, "%s\n", text);
}

void ps_report_write(const struct ps_report *report, enum ps_report_format format, bool host, unsigned index,
		     GString *out)
{
	switch (format) {
	case PS_REPORT_TABLE:
		write_table(report, host, index, out);
		break;
	case PS_REPORT_JSON:
		write_json(report, host, index, out);
		break;
	case PS_REPORT_CSV:
		write_csv(report, host, index, out);
		break;
	case PS_REPORT_VMSTAT:
		write_vmstat(report, out);
		break;
	}
}

void ps_report_close(enum ps_report_format format, unsigned n, GString *out)
{
	if (format != PS_REPORT_JSON)
		return;
	if (!n)
		g_string_append(out, "{\n  \"schema\": \"" PS_REPORT_SCHEMA "\",\n  \"runs\": [");
	g_string_append(out, "\n  ]\n}\n");
}
