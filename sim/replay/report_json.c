/* SPDX-License-Identifier: MIT */
/*
 * A report for programs: JSON (docs/report.md is its schema).
 */
#include "replay/report_text.h"

#include "replay/json.h"

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
	u64 moved = report_counter(r, "pgmigrate_success"), failed = report_counter(r, "pgmigrate_fail");

	json_open(j, "migration", '{');
	json_u64(j, "tried_pages", moved + failed);
	json_u64(j, "moved_pages", moved);
	json_u64(j, "failed_pages", failed);
	json_open(j, "failed_by_reason", '{');
	for (int f = 0; f < PS_NR_MIGRATE_FAILURES; f++)
		json_named(j, ps_migrate_failure_name((enum ps_migrate_failure)f), r->migrate_failed[f]);
	json_close(j, '}');
	json_u64(j, "thp_moved", report_counter(r, "thp_migration_success"));
	json_u64(j, "thp_split", report_counter(r, "thp_migration_split"));
	json_u64(j, "thp_failed", report_counter(r, "thp_migration_fail"));
	json_u64(j, "promoted_pages", report_promoted(r));
	json_u64(j, "promoted_bytes", report_promoted(r) << PAGE_SHIFT);
	json_u64(j, "demoted_pages", report_demoted(r));
	json_u64(j, "demoted_bytes", report_demoted(r) << PAGE_SHIFT);
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

void report_write_json(const struct ps_report *r, bool host, unsigned index, GString *out)
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
	json_u64(&j, "memory", report_memory_accesses(r));
	json_u64(&j, "memory_latency_ns", r->memory_latency_ns);
	json_u64(&j, "local_latency_ns", r->local_latency_ns);
	report_append_ratio(mean, r->memory_latency_ns, report_memory_accesses(r), 3);
	json_raw(&j, "mean_memory_latency_ns", mean->str);
	json_u64(&j, "lost_ns", report_lost(r));
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
	json_u64(&j, "shootdowns", report_counter(r, "nr_tlb_remote_flush"));
	json_u64(&j, "interrupted_cpus", r->tlb_interrupts);
	json_close(&j, '}');
	json_locks(&j, r);
	json_times(&j, "program_time", &r->program);
	json_times(&j, "kernel_time", &r->kernel);
	json_open(&j, "vmstat", '{');
	for (int i = 0; i < PS_NR_VMSTAT; i++)
		if (!(ps_vmstat_flags(i) & PS_VMSTAT_UNMOVED))
			json_s64(&j, ps_vmstat_name(i), r->vmstat.value[i]);
	json_close(&j, '}');
	if (r->interval_ns)
		json_rows(&j, r);
	if (host) {
		json_open(&j, "host", '{');
		g_string_printf(mean, "%.6f", r->host_seconds);
		json_raw(&j, "seconds", mean->str);
		json_u64(&j, "accesses_per_second", report_host_rate(r));
		json_u64(&j, "bytes", r->host_bytes);
		json_u64(&j, "bytes_per_resident_page", report_host_bytes_per_page(r));
		json_close(&j, '}');
	}
	json_close(&j, '}');
	g_string_free(mean, TRUE);
}
