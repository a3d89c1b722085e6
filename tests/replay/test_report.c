/* SPDX-License-Identifier: MIT */
/*
 * Writing reports: numbers as people and programs read them, texts that would break a format, and columns that mean the
 * same everywhere.
 */
#include "replay/scene.h"

#include <ctype.h>

/* A report with a number in every place. */
static void filled(struct ps_report *r)
{
	ps_report_init(r);
	r->trace = g_strdup("a \"b\",\n\\c\xff");
	r->source = g_strdup("lackey");
	r->command = g_strdup("prog");
	r->machine = g_strdup("m");
	r->description = g_strdup("two nodes");
	r->policy = g_strdup("none");
	r->generation = g_strdup("6.1");
	r->nr_cpus = 3;
	r->nr_nodes = 2;
	r->node[0] = (struct ps_report_node){
		.bytes = 3ULL << 29, .nr_cpus = 3, .reads = 300, .writes = 100, .resident_pages = 7, .peak_pages = 256
	};
	r->node[1] = (struct ps_report_node){
		.bytes = 1ULL << 30, .kind = PS_MEMORY_CXL, .tier = 1, .reads = 100, .peak_pages = 256
	};
	r->complete = true;
	r->records = 500;
	r->reads = 1234000;
	r->writes = 567;
	r->events[PS_EVENT_MMAP] = 2;
	r->processes = 1;
	r->threads = 2;
	r->elapsed_ns = 2000000000;
	r->memory_latency_ns = 60000;
	r->local_latency_ns = 50000;
	r->program.ns[PS_TIME_ACCESS] = 1500000000;
	r->program.ns[PS_TIME_FAULT] = 500000000;
	r->kernel.ns[PS_TIME_SCAN] = 13130;
	r->faults[PS_FAULT_ANON] = 3;
	r->faults[PS_FAULT_HINT] = 1;
	r->migrate_failed[PS_FAIL_LOCKED] = 4;
	r->tlb = (struct ps_tlb_counts){ 1, 2, 3 };
	r->tlb_interrupts = 9;
	r->locks[ANON_VMA_RWSEM] = (struct ps_lock_class_stats){ .waits = 5, .total_ns = 5000, .max_ns = 999 };
	r->vmstat.value[ps_vmstat_find("pgmigrate_success")] = 12;
	r->vmstat.value[ps_vmstat_find("pgmigrate_fail")] = 4;
	r->vmstat.value[ps_vmstat_find("pgpromote_success")] = 512;
	r->vmstat.value[ps_vmstat_find("pgdemote_kswapd")] = 2;
	r->vmstat.value[ps_vmstat_find("pgdemote_direct")] = 1;
	r->vmstat.value[ps_vmstat_find("nr_tlb_remote_flush")] = 8;
	r->vmstat.value[ps_vmstat_find("thp_migration_split")] = 6;
	r->interval_ns = 1000;
	r->nr_columns = ps_report_nr_columns(2);
	r->nr_rows = 2;
	r->rows = (u64 *)ps_calloc(2 * r->nr_columns, sizeof(u64));
	assert_non_null(r->rows);
	for (unsigned c = 0; c < 2 * r->nr_columns; c++)
		r->rows[c] = c;
	r->host_seconds = 0.5;
	r->host_bytes = 51200;
}

static GString *written(const struct ps_report *r, enum ps_report_format format, bool host)
{
	GString *text = g_string_new(NULL);

	ps_report_write(r, format, host, 0, text);
	ps_report_close(format, 1, text);
	return text;
}

static void expect_line(const GString *text, const char *line)
{
	char *whole = g_strdup_printf("\n%s\n", line);

	if (!strstr(text->str, whole))
		fail_msg("expected the line '%s' in:\n%s", line, text->str);
	g_free(whole);
}

static void table_reads_like_perf_stat(void **state)
{
	struct ps_report r;
	GString *text;

	filled(&r);
	text = written(&r, PS_REPORT_TABLE, false);
	expect_line(text, "           1 process, 2 threads, 2 events");
	expect_line(text, "Machine    m: node 0 1.5 GiB dram 3 CPUs, node 1 1.0 GiB cxl");
	expect_line(text, "Policy     none, generation 6.1, seed 0");
	expect_line(text, "           2.000 s  simulated time");
	expect_line(text, "         1,234,567  accesses");
	expect_line(text, "               567    writes                           0.05%");
	expect_line(text, "               400    node 0, dram, tier 0             80.00%");
	expect_line(text, "          120.0 ns  mean memory latency                100.0 ns if all were local");
	expect_line(text, "         10.000 us  lost against all-local             0.00% of the simulated time");
	expect_line(text, "                 1    NUMA hint                        25.00%");
	expect_line(text, "                16  pages tried to migrate");
	expect_line(text, "                 4      page locked");
	expect_line(text, "                 6    huge pages split to move");
	expect_line(text, "               512  pages promoted                     2.0 MiB");
	expect_line(text, "                 3  pages demoted                      12.0 KiB");
	expect_line(text, "                 8  TLB shootdowns                     9 CPUs interrupted");
	expect_line(text, "                 5    anon_vma->root->rwsem            5.000 us in all, 999 ns at most");
	expect_line(text, "           1.500 s    access                           75.00%");
	expect_line(text, "         13.130 us  time of kernel threads");
	expect_line(text, "               512  pages resident at the most         2.0 MiB");
	assert_null(strstr(text->str, "host"));
	g_string_free(text, TRUE);
	text = written(&r, PS_REPORT_TABLE, true);
	expect_line(text, "host speed: 2,469,134 accesses/s (0.500 s)");
	expect_line(text, "host memory: 100 bytes per resident page (50.0 KiB)");
	g_string_free(text, TRUE);
	r.complete = false;
	r.stopped = g_strdup("why not");
	text = written(&r, PS_REPORT_TABLE, false);
	expect_line(text, "Stopped    why not");
	g_string_free(text, TRUE);
	ps_report_destroy(&r);
}

/* Nothing happened at all: no division by zero, no negative share. */
static void empty_report_can_be_written(void **state)
{
	for (int format = PS_REPORT_TABLE; format <= PS_REPORT_VMSTAT; format++) {
		struct ps_report r;
		GString *text;

		ps_report_init(&r);
		text = written(&r, (enum ps_report_format)format, true);
		assert_null(strstr(text->str, " nan"));
		assert_null(strstr(text->str, " inf"));
		assert_null(strstr(text->str, " -"));
		g_string_free(text, TRUE);
		ps_report_destroy(&r);
	}
	ps_report_destroy(NULL);
}

/* ---- a reader of JSON, as strict as the grammar */

static const char *value(const char *p);

static const char *blank(const char *p)
{
	while (*p == ' ' || *p == '\n')
		p++;
	return p;
}

static const char *string(const char *p)
{
	if (*p++ != '"')
		fail_msg("expected a string at %.20s", p - 1);
	while (*p != '"') {
		if ((unsigned char)*p < 0x20)
			fail_msg("control character in a string at %.20s", p);
		if (*p++ != '\\')
			continue;
		if (*p == 'u')
			for (int i = 0; i < 4; i++)
				assert_true(isxdigit((unsigned char)*++p));
		else
			assert_non_null(strchr("\"\\/bfnrt", *p));
		p++;
	}
	return p + 1;
}

static const char *members(const char *p, char end)
{
	p = blank(p);
	if (*p == end)
		return p + 1;
	for (;;) {
		if (end == '}') {
			p = blank(string(blank(p)));
			assert_int_equal(*p++, ':');
		}
		p = blank(value(blank(p)));
		if (*p == end)
			return p + 1;
		if (*p++ != ',')
			fail_msg("expected a comma at %.20s", p - 1);
	}
}

static const char *value(const char *p)
{
	if (*p == '{' || *p == '[')
		return members(p + 1, *p == '{' ? '}' : ']');
	if (*p == '"')
		return string(p);
	if (!strncmp(p, "true", 4))
		return p + 4;
	if (!strncmp(p, "false", 5))
		return p + 5;
	p += *p == '-';
	assert_true(isdigit((unsigned char)*p));
	p += strspn(p, "0123456789");
	if (*p == '.') {
		assert_true(isdigit((unsigned char)p[1]));
		p += 1 + strspn(p + 1, "0123456789");
	}
	return p;
}

static void expect_json(const GString *text)
{
	assert_string_equal(value(text->str), "\n");
	assert_true(g_utf8_validate(text->str, -1, NULL));
}

static void json_is_one_document_of_all_runs(void **state)
{
	struct ps_report r;
	GString *text = g_string_new(NULL);

	filled(&r);
	ps_report_close(PS_REPORT_JSON, 0, text);
	expect_json(text);
	for (unsigned n = 1; n <= 3; n++) {
		g_string_truncate(text, 0);
		for (unsigned i = 0; i < n; i++)
			ps_report_write(&r, PS_REPORT_JSON, i == 1, i, text);
		ps_report_close(PS_REPORT_JSON, n, text);
		expect_json(text);
	}
	assert_true(g_str_has_prefix(text->str, "{\n  \"schema\": \"pagesim.report/1\",\n"));
	expect_line(text, "        \"name\": \"a \\\"b\\\",\\n\\\\c\xef\xbf\xbd\",");
	expect_line(text, "        \"mean_memory_latency_ns\": 120.000,");
	expect_line(text, "        \"bytes_per_resident_page\": 100");
	expect_line(text, "        \"pgpromote_success\": 512,");
	expect_line(text, "          \"page_locked\": 4,");
	g_string_free(text, TRUE);
	ps_report_destroy(&r);
}

/* Fields of a CSV line; quoted ones may hold anything. */
static unsigned fields(const char **p)
{
	unsigned n = 1;
	bool quoted = false;

	for (; **p && (quoted || **p != '\n'); ++*p) {
		if (**p == '"')
			quoted = !quoted;
		else if (**p == ',' && !quoted)
			n++;
	}
	assert_false(quoted);
	assert_int_equal(*(*p)++, '\n');
	return n;
}

static void csv_has_as_many_fields_as_its_head_says(void **state)
{
	for (int host = 0; host < 2; host++) {
		struct ps_report r;
		GString *text = g_string_new(NULL);
		unsigned nr = 3 + ps_report_nr_columns(2) + 2 * (unsigned)host, lines = 0;
		const char *p;

		filled(&r);
		ps_report_write(&r, PS_REPORT_CSV, host, 0, text);
		ps_report_write(&r, PS_REPORT_CSV, host, 1, text);
		ps_report_close(PS_REPORT_CSV, 2, text);
		assert_true(g_str_has_prefix(text->str, "schema,trace,kind,start_ns,end_ns,accesses,memory_accesses,"));
		for (p = text->str; *p; lines++)
			assert_int_equal(fields(&p), nr);
		assert_int_equal(lines, 1 + 2 * 3);
		assert_non_null(strstr(text->str,
				       "\npagesim.report/1,\"a "
				       "\"\"b\"\",\n\\c\xff\",total,0,2000000000,1234567,500,60000,10000,3,8,4,1,"
				       "512,3,12,4,0,1500000000,0,500000000,"));
		g_string_free(text, TRUE);
		ps_report_destroy(&r);
	}
}

/* Expect those of this build alone: a line less for each that nothing moves. */
static void vmstat_has_every_counter_that_can_move_in_order(void **state)
{
	struct ps_report r;
	GString *text;
	const char *p;

	filled(&r);
	text = written(&r, PS_REPORT_VMSTAT, true);
	p = text->str;
	for (int i = 0; i < PS_NR_VMSTAT; i++) {
		char *line = g_strdup_printf("%s %" G_GINT64_FORMAT "\n", ps_vmstat_name(i), r.vmstat.value[i]);

		if (ps_vmstat_flags(i) & PS_VMSTAT_UNMOVED) {
			assert_null(strstr(text->str, line));
			g_free(line);
			continue;
		}
		assert_true(g_str_has_prefix(p, line));
		p += strlen(line);
		g_free(line);
	}
	assert_string_equal(p, "");
	assert_non_null(strstr(text->str, "\npgmigrate_success 12\n"));
	assert_null(strstr(text->str, "swap_ra"));
	g_string_free(text, TRUE);
	ps_report_destroy(&r);
}

static void every_column_has_a_name_of_its_own(void **state)
{
	for (unsigned nodes = 1; nodes <= MAX_NUMNODES; nodes += 21) {
		GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
		GString *name = g_string_new(NULL);

		for (unsigned c = 0; c < ps_report_nr_columns(nodes); c++) {
			g_string_truncate(name, 0);
			ps_report_column_name(c, nodes, name);
			assert_string_not_equal(name->str, "?");
			assert_true(g_hash_table_add(seen, g_strdup(name->str)));
		}
		g_string_truncate(name, 0);
		ps_report_column_name(ps_report_nr_columns(nodes), nodes, name);
		assert_string_equal(name->str, "?");
		g_hash_table_destroy(seen);
		g_string_free(name, TRUE);
	}
}

static void words_of_formats_and_placements(void **state)
{
	assert_int_equal(ps_report_format_from_word("table"), PS_REPORT_TABLE);
	assert_int_equal(ps_report_format_from_word("json"), PS_REPORT_JSON);
	assert_int_equal(ps_report_format_from_word("csv"), PS_REPORT_CSV);
	assert_int_equal(ps_report_format_from_word("vmstat"), PS_REPORT_VMSTAT);
	assert_int_equal(ps_report_format_from_word("xml"), -ENOENT);
	assert_int_equal(ps_replay_placement_from_word("first-node"), PS_PLACE_FIRST_NODE);
	assert_int_equal(ps_replay_placement_from_word("spread"), PS_PLACE_SPREAD);
	assert_int_equal(ps_replay_placement_from_word("cpu0"), PS_PLACE_CPU0);
	assert_int_equal(ps_replay_placement_from_word(""), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(table_reads_like_perf_stat, scene_nothing_left),
		cmocka_unit_test_teardown(empty_report_can_be_written, scene_nothing_left),
		cmocka_unit_test_teardown(json_is_one_document_of_all_runs, scene_nothing_left),
		cmocka_unit_test_teardown(csv_has_as_many_fields_as_its_head_says, scene_nothing_left),
		cmocka_unit_test_teardown(vmstat_has_every_counter_that_can_move_in_order, scene_nothing_left),
		cmocka_unit_test(every_column_has_a_name_of_its_own),
		cmocka_unit_test(words_of_formats_and_placements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
