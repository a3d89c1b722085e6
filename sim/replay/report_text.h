/* SPDX-License-Identifier: MIT */
/*
 * What the carriers of a report share: derived figures, numbers as text, and the carriers themselves.
 */
#ifndef REPLAY_REPORT_TEXT_H
#define REPLAY_REPORT_TEXT_H

#include <pagesim/report.h>

__extension__ typedef unsigned __int128 u128;

#define NR_TIME ((unsigned)PS_NR_TIME_CLASSES)

/* ---- report.c */

/** A vm event or counter by Linux's name. */
u64 report_counter(const struct ps_report *report, const char *name);
u64 report_promoted(const struct ps_report *report);
u64 report_demoted(const struct ps_report *report);
u64 report_memory_accesses(const struct ps_report *report);
/** ns lost against all memory being local. */
u64 report_lost(const struct ps_report *report);
u64 report_sum(const u64 *values, unsigned n);
/** Accesses a second of the host's time. */
u64 report_host_rate(const struct ps_report *report);
u64 report_host_bytes_per_page(const struct ps_report *report);

/* ---- report_text.c; texts are freed with g_free() */

/** part / whole with so many decimals, rounded half up; 0 of nothing is 0. */
void report_append_ratio(GString *out, u128 part, u64 whole, unsigned decimals);
char *report_ratio_text(u64 part, u64 whole, unsigned decimals);
/** "12.34%" */
char *report_percent_text(u64 part, u64 whole);
/** "1,234,567" */
char *report_count_text(u64 value);
/** "384 ns", "13.130 us", "2.500 ms", "1.234 s" */
char *report_time_text(u64 ns);
/** "16.0 GiB", "768.0 MiB", "12.0 KiB" */
char *report_bytes_text(u64 bytes);

/* ---- the carriers */

void report_write_table(const struct ps_report *r, bool host, unsigned index, GString *out);
void report_write_json(const struct ps_report *r, bool host, unsigned index, GString *out);
void report_write_csv(const struct ps_report *r, bool host, unsigned index, GString *out);
void report_write_vmstat(const struct ps_report *r, GString *out);

#endif
