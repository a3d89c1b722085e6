/* SPDX-License-Identifier: MIT */
/*
 * A report for spreadsheets, CSV with a row an interval, and for scripts that read /proc/vmstat: Linux's names, one a line.
 */
#include "replay/report_text.h"

#include <string.h>

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

void report_write_csv(const struct ps_report *r, bool host, unsigned index, GString *out)
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

void report_write_vmstat(const struct ps_report *r, GString *out)
{
	char text[128];

	for (int i = 0; i < PS_NR_VMSTAT; i++)
		if (!(ps_vmstat_flags(i) & PS_VMSTAT_UNMOVED) &&
		    ps_vmstat_format(text, sizeof(text), i, r->vmstat.value[i]) > 0)
			g_string_append_printf(out, "%s\n", text);
}
