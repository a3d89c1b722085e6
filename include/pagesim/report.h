/* SPDX-License-Identifier: MIT */
/*
 * What a replay came to: one struct of plain numbers, filled by the replay layer, and four ways to write it into a string
 * (a table for people, JSON, CSV, the lines of /proc/vmstat). Every number is simulated and therefore the same on every
 * host; what depends on the host (speed, memory) is a part of its own that is written only when asked for.
 *
 * Names in this file:
 *   row       what happened in one interval of virtual time
 *   column    one number of a row; the columns are a list, the same for every row of a report, and the last CSV line is
 *             the whole run in the same columns
 *   memory access   an access that goes to a node's memory: the first of each folded record. The others of the record are
 *             served by the CPU's cache
 *   lost      what memory accesses took beyond what they would have taken on the CPU's nearest memory node
 *
 * The schema of JSON and CSV is PS_REPORT_SCHEMA and described in docs/report.md. Its number changes when a name goes
 * away or changes meaning; new names do not change it.
 *
 * Layer: replay
 */
#ifndef PAGESIM_REPORT_H
#define PAGESIM_REPORT_H

#include <glib.h>
#include <pagesim/contents.h>
#include <pagesim/fault.h>
#include <pagesim/lock_class.h>
#include <pagesim/machine.h>
#include <pagesim/migrate.h>
#include <pagesim/task.h>
#include <pagesim/trace.h>
#include <pagesim/vmstat.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_REPORT_SCHEMA "pagesim.report/1"

enum ps_report_format {
	PS_REPORT_TABLE,
	PS_REPORT_JSON,
	PS_REPORT_CSV,
	PS_REPORT_VMSTAT,
};

/** The format called @word ("table", "json", "csv", "vmstat"), or -ENOENT. */
int ps_report_format_from_word(const char *word);

/**
 * The columns of a row. X(NAME, name in JSON and CSV, kind)
 * A COUNT is what happened within the interval, a GAUGE what is true at its end. Units are in the name: _ns, _pages.
 */
#define PS_REPORT_COLUMNS(X)                             \
	X(START, "start_ns", GAUGE)                      \
	X(END, "end_ns", GAUGE)                          \
	X(ACCESSES, "accesses", COUNT)                   \
	X(MEMORY, "memory_accesses", COUNT)              \
	X(LATENCY, "memory_latency_ns", COUNT)           \
	X(LOST, "lost_ns", COUNT)                        \
	X(TLB_MISSES, "tlb_misses", COUNT)               \
	X(SHOOTDOWNS, "tlb_shootdowns", COUNT)           \
	X(FAULTS, "faults", COUNT)                       \
	X(HINT_FAULTS, "hint_faults", COUNT)             \
	X(PROMOTED, "promoted_pages", COUNT)             \
	X(DEMOTED, "demoted_pages", COUNT)               \
	X(MIGRATED, "migrated_pages", COUNT)             \
	X(MIGRATE_FAILED, "migrate_failed_pages", COUNT) \
	X(THP_MIGRATED, "thp_migrated", COUNT)

#define PS_REPORT_GAUGE 1
#define PS_REPORT_COUNT 0

/* clang-format off */
enum ps_report_column {
#define PS_REPORT_ENUM(name, text, kind) PS_REPORT_COLUMN_##name,
	PS_REPORT_COLUMNS(PS_REPORT_ENUM)
#undef PS_REPORT_ENUM
	PS_REPORT_FIXED_COLUMNS
};
/* clang-format on */
/* After the fixed ones: NAME_ns for each time class of the program; then nodeN_accesses and nodeN_resident_pages. */

/** Virtual time by class. */
struct ps_report_time {
	u64 ns[PS_NR_TIME_CLASSES];
};

struct ps_report_node {
	u64 bytes;
	enum ps_memory_kind kind;
	int tier; /* -1: no memory */
	unsigned nr_cpus;
	u64 reads; /* memory accesses */
	u64 writes;
	u64 resident_pages; /* anonymous and file pages at the end */
	u64 peak_pages;     /* at the moment when all nodes together had most */
};

/** A number a policy keeps of itself. The name lives as long as the library. */
struct ps_report_stat {
	const char *name; /* NULL ends the list */
	u64 value;
};
#define PS_REPORT_POLICY_STATS 32

/** A report. All strings are owned by it. Zero-filled and freed by its functions. */
struct ps_report {
	/* What was run. */
	char *trace; /* its name */
	char *source;
	char *command;
	enum ps_trace_clock clock;
	char *machine;
	char *description;
	char *policy;
	char *generation;
	enum ps_contents contents;
	u64 seed;
	unsigned nr_cpus;
	unsigned nr_nodes;
	struct ps_report_node node[MAX_NUMNODES];
	bool complete; /* the trace was replayed to its end */
	char *stopped; /* otherwise: why not */

	/* What the trace held, as far as it was replayed. */
	u64 records;
	u64 reads; /* accesses, the folded ones counted each */
	u64 writes;
	u64 fetches;
	u64 events[PS_EVENT_KINDS];
	u64 processes;
	u64 threads;
	u64 auto_mapped_pages; /* touched without any mapping in the trace: mapped as anonymous memory on the spot */
	u64 refused_accesses;  /* the mapping did not allow them: the program got a signal there; not replayed */
	u64 ignored_events;    /* advice this build does not act on, calls that failed here */

	/* What became of it. */
	ps_ns_t elapsed_ns;
	u64 memory_latency_ns;
	u64 local_latency_ns; /* the same accesses, all on the nearest node */
	struct ps_report_time program;
	struct ps_report_time kernel; /* kernel threads; their idle time is 0 */
	u64 faults[PS_NR_FAULT_KINDS];
	u64 migrate_failed[PS_NR_MIGRATE_FAILURES];
	struct ps_tlb_counts tlb;
	u64 tlb_interrupts; /* CPUs interrupted by shootdowns */
	struct ps_lock_class_stats locks[NR_LOCK_CLASSES];
	struct ps_vmstat vmstat;
	u64 page_bytes; /* of a huge page */
	struct ps_report_stat policy_stat[PS_REPORT_POLICY_STATS + 1];

	/* Intervals. */
	ps_ns_t interval_ns; /* 0: none */
	unsigned nr_columns;
	size_t nr_rows;
	size_t room_rows;
	u64 *rows; /* [nr_rows][nr_columns] */

	/* The host's, filled in by who can measure them; written on request only. */
	double host_seconds;
	u64 host_bytes; /* host memory the simulated machine took */
};

void ps_report_init(struct ps_report *report);
/** Gives back what it owns and makes it empty. NULL is fine. */
void ps_report_destroy(struct ps_report *report);

/** Columns of a row on a machine of so many nodes. */
unsigned ps_report_nr_columns(unsigned nr_nodes);
/** Writes the name of column @i, "?" when there is none. */
void ps_report_column_name(unsigned i, unsigned nr_nodes, GString *out);
/** True when column @i is a gauge. */
bool ps_report_column_is_gauge(unsigned i, unsigned nr_nodes);

/** The whole run in the columns of a row: *values has nr_columns elements. */
void ps_report_totals(const struct ps_report *report, u64 *values);

/** Resident pages over all nodes when they were most. */
u64 ps_report_peak_pages(const struct ps_report *report);

/** Accesses, the folded ones counted each. */
static inline u64 ps_report_accesses(const struct ps_report *report)
{
	return report->reads + report->writes + report->fetches;
}

/**
 * Appends a report.
 * @host: with what depends on the host (JSON: an object "host"; CSV: two more columns; table: two more lines; vmstat never).
 * @index: number of this report in the document, from 0. JSON is one document of all reports: the first brings the
 * opening, ps_report_close() the closing; CSV has its header line before the first.
 */
void ps_report_write(const struct ps_report *report, enum ps_report_format format, bool host, unsigned index,
		     GString *out);
/** Ends a document of @n reports. */
void ps_report_close(enum ps_report_format format, unsigned n, GString *out);

/** The two lines about the host: speed, and host memory per resident page. */
void ps_report_write_host(const struct ps_report *report, GString *out);

#ifdef __cplusplus
}
#endif
#endif
