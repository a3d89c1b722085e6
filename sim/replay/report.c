/* SPDX-License-Identifier: MIT */
/*
 * A report's figures: what is counted, what is derived from it, and the columns of a row. The carriers are in files of their
 * own: report_table.c, report_json.c, report_csv.c. All but the host's own time, which nobody expects to repeat, is integers.
 */
#include <pagesim/report.h>

#include <string.h>

#include <pagesim/alloc.h>

#include "replay/report_text.h"

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

/* ---- derived figures */

u64 report_counter(const struct ps_report *report, const char *name)
{
	int index = ps_vmstat_find(name);

	return index < 0 ? 0 : (u64)report->vmstat.value[index];
}

u64 report_promoted(const struct ps_report *report)
{
	return report_counter(report, "pgpromote_success");
}

u64 report_demoted(const struct ps_report *report)
{
	return report_counter(report, "pgdemote_kswapd") + report_counter(report, "pgdemote_direct");
}

u64 report_sum(const u64 *values, unsigned n)
{
	u64 total = 0;

	while (n--)
		total += values[n];
	return total;
}

u64 report_memory_accesses(const struct ps_report *report)
{
	u64 total = 0;

	for (unsigned n = 0; n < report->nr_nodes; n++)
		total += report->node[n].reads + report->node[n].writes;
	return total;
}

u64 report_lost(const struct ps_report *report)
{
	return report->memory_latency_ns - report->local_latency_ns;
}

u64 report_host_rate(const struct ps_report *r)
{
	return r->host_seconds > 0 ? (u64)((double)ps_report_accesses(r) / r->host_seconds) : 0;
}

u64 report_host_bytes_per_page(const struct ps_report *r)
{
	u64 peak = ps_report_peak_pages(r);

	return peak ? r->host_bytes / peak : 0;
}

void ps_report_totals(const struct ps_report *report, u64 *values)
{
	u64 *node = values + PS_REPORT_FIXED_COLUMNS + NR_TIME;

	values[PS_REPORT_COLUMN_START] = 0;
	values[PS_REPORT_COLUMN_END] = report->elapsed_ns;
	values[PS_REPORT_COLUMN_ACCESSES] = ps_report_accesses(report);
	values[PS_REPORT_COLUMN_MEMORY] = report_memory_accesses(report);
	values[PS_REPORT_COLUMN_LATENCY] = report->memory_latency_ns;
	values[PS_REPORT_COLUMN_LOST] = report_lost(report);
	values[PS_REPORT_COLUMN_TLB_MISSES] = report->tlb.misses;
	values[PS_REPORT_COLUMN_SHOOTDOWNS] = report_counter(report, "nr_tlb_remote_flush");
	values[PS_REPORT_COLUMN_FAULTS] = report_sum(report->faults, PS_NR_FAULT_KINDS);
	values[PS_REPORT_COLUMN_HINT_FAULTS] = report->faults[PS_FAULT_HINT];
	values[PS_REPORT_COLUMN_PROMOTED] = report_promoted(report);
	values[PS_REPORT_COLUMN_DEMOTED] = report_demoted(report);
	values[PS_REPORT_COLUMN_MIGRATED] = report_counter(report, "pgmigrate_success");
	values[PS_REPORT_COLUMN_MIGRATE_FAILED] = report_counter(report, "pgmigrate_fail");
	values[PS_REPORT_COLUMN_THP_MIGRATED] = report_counter(report, "thp_migration_success");
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

/* ---- writing */

void ps_report_write(const struct ps_report *report, enum ps_report_format format, bool host, unsigned index,
		     GString *out)
{
	switch (format) {
	case PS_REPORT_TABLE:
		report_write_table(report, host, index, out);
		break;
	case PS_REPORT_JSON:
		report_write_json(report, host, index, out);
		break;
	case PS_REPORT_CSV:
		report_write_csv(report, host, index, out);
		break;
	case PS_REPORT_VMSTAT:
		report_write_vmstat(report, out);
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
