/* SPDX-License-Identifier: MIT */
/*
 * Numbers as text, in integer arithmetic with fixed decimals, so that no host rounds differently.
 */
#include "replay/report_text.h"

/* part / whole with so many decimals, rounded half up; 0 of nothing is 0. */
void report_append_ratio(GString *out, u128 part, u64 whole, unsigned decimals)
{
	u64 scale = 1, all;

	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	all = whole ? (u64)((part * scale + whole / 2) / whole) : 0;
	g_string_append_printf(out, "%" G_GUINT64_FORMAT, all / scale);
	if (decimals)
		g_string_append_printf(out, ".%0*" G_GUINT64_FORMAT, (int)decimals, all % scale);
}

char *report_ratio_text(u64 part, u64 whole, unsigned decimals)
{
	GString *text = g_string_new(NULL);

	report_append_ratio(text, part, whole, decimals);
	return g_string_free(text, FALSE);
}

char *report_percent_text(u64 part, u64 whole)
{
	GString *text = g_string_new(NULL);

	report_append_ratio(text, (u128)part * 100, whole, 2);
	g_string_append_c(text, '%');
	return g_string_free(text, FALSE);
}

/* 1,234,567 */
char *report_count_text(u64 value)
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
char *report_time_text(u64 ns)
{
	static const struct {
		u64 ns;
		const char *unit;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" } };
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
		/* What rounds up to 1.000 of the unit is shown in it. */
		if (ns + units[i].ns / 2000 >= units[i].ns) {
			report_append_ratio(text, ns, units[i].ns, 3);
			g_string_append_printf(text, " %s", units[i].unit);
			return g_string_free(text, FALSE);
		}
	}
	g_string_append_printf(text, "%" G_GUINT64_FORMAT " ns", ns);
	return g_string_free(text, FALSE);
}

/* 16.0 GiB, 768.0 MiB, 12.0 KiB */
char *report_bytes_text(u64 bytes)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB" };
	GString *text = g_string_new(NULL);
	unsigned u = 0;

	while (u + 1 < G_N_ELEMENTS(unit) && bytes >> (10 * (u + 2)))
		u++;
	report_append_ratio(text, bytes, 1ULL << (10 * (u + 1)), 1);
	g_string_append_printf(text, " %s", unit[u]);
	return g_string_free(text, FALSE);
}
