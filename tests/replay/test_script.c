/* SPDX-License-Identifier: MIT */
/*
 * Running scripts: settings, time and the kernel's words, as transcripts. What the verbs do to memory is the golden suite's.
 */
#include "replay/scene.h"

#include <pagesim/script.h>
#include <pagesim/trace_text.h>

static void take(void *arg, const char *text, size_t length)
{
	g_string_append_len((GString *)arg, text, (gssize)length);
}

/* The transcript of a script on two nodes of @pages0 and @pages1 pages; its last line is the error, if there is one. */
static char *transcript(u64 pages0, u64 pages1, const char *text)
{
	struct ps_script *script = ps_script_parse(text, strlen(text), "x.pgs");
	GString *out = g_string_new(NULL);
	struct ps_script_settings settings = { .check = true, .print = take, .arg = out };
	GError *error = NULL;

	if (!ps_script_run(script, scene_spec(pages0, pages1), &settings, &error))
		g_string_append_printf(out, "error: %s\n", error->message);
	g_clear_error(&error);
	ps_script_free(script);
	return g_string_free(out, FALSE);
}

static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

/*
 * What the files of Linux 6.1 take and refuse, asked of one: 'taken' words leave no line, the others leave -EINVAL.
 */
static void a_setting_takes_what_the_kernels_file_takes(void **state)
{
	static const struct {
		const char *name, *taken, *refused;
	} table[] = {
		{ "thp_enabled", "always madvise never", "sometimes 1 madv" },
		{ "thp_defrag", "always defer defer+madvise madvise never", "x madv 0" },
		{ "shmem_enabled", "always within_size deny force never advise", "7 huge" },
		{ "use_zero_page", "0 1 01", "2 -1 y 0x1" },
		{ "numa_balancing", "1 2 3 4 0x1 0", "5 -1 on 1x" },
		{ "demotion_enabled", "1 0 true false yes on off nope", "2 x o" },
		{ "swappiness", "0 100 200 060", "201 -1 high 99999999999999999999" },
		{ "numa_balancing_scan_size_mb", "1 256", "0 x" },
		{ "numa_balancing_scan_delay_ms", "0 1000", "-1" },
		{ "numa_balancing_scan_period_min_ms", "1 1000", "0 70000" },
		{ "numa_balancing_scan_period_max_ms", "60000", "0 999" },
		{ "numa_balancing_hot_threshold_ms", "1", "0" },
		{ "numa_balancing_promote_rate_limit_MBps", "1", "0" },
		{ "autodrain", "0 1", "2" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		for (int taken = 0; taken < 2; taken++) {
			char **words = g_strsplit(taken ? table[i].taken : table[i].refused, " ", -1);

			for (char **word = words; *word; word++) {
				char *text = g_strdup_printf("kernel set %s %s\n", table[i].name, *word);
				char *out = transcript(1024, 1024, text);
				char *expected = g_strdup_printf("> %s%s", text, taken ? "" : "  = -EINVAL\n");

				assert_string_equal(out, expected);
				g_free(expected);
				g_free(out);
				g_free(text);
			}
			g_strfreev(words);
		}
	}
}

static void a_setting_nobody_has_is_one_error_that_lists_those_there_are(void **state)
{
	char *out = transcript(1024, 0, "A start\nkernel set nonsense 1\nA mmap r 4K anon\n");

	(void)state;
	assert_int_equal(count(out, "x.pgs:2: unknown setting 'nonsense': expected one of thp_enabled, "), 2);
	assert_int_equal(count(out, "mmap"), 0);
	g_free(out);
}

/* Settings act: no zero page, no huge page, huge shared memory without advice. */
static void settings_change_what_faults_do(void **state)
{
	char *out =
		transcript(4096, 0,
			   "A start\n"
			   "A mmap a 2M anon\nA madvise a hugepage\nkernel set thp_enabled never\nA load a[0]\n"
			   "kernel set thp_enabled always\nkernel set use_zero_page 0\nA mmap b 2M anon\nA load b[0]\n"
			   "kernel set shmem_enabled always\nA mmap c 2M anon shared\nA store c[0]\n"
			   "kernel set shmem_enabled deny\nA mmap d 2M anon shared\nA store d[0]\n"
			   "A show a[0]\nA show b[0]\nA show c[0]\nA show d[0]\n");
	const char *shown = strstr(out, "> A show a[0]");

	(void)state;
	assert_non_null(shown);
	assert_non_null(strstr(shown, "> A show a[0]\n  [0] zero\n"));
	assert_non_null(strstr(shown, "> A show b[0]\n  [0] node=0 ref=1 map=1 head order=9"));
	assert_non_null(strstr(shown, "> A show c[0]\n  [0] node=0 ref=513 map=1 head order=9"));
	assert_non_null(strstr(shown, "> A show d[0]\n  [0] node=0 ref=2 map=1 pte"));
	g_free(out);
}

/*
 * Two nodes, CPU 1 on the second:
 *   1. A stores 16 MiB from CPU 0: all on node 0.
 *   2. NUMA balancing goes on; its thread B works on the same memory from CPU 1.
 * Expect hint faults, and pages on node 1. Then it goes off: Expect no more hints.
 */
static void numa_balancing_moves_the_memory_of_a_script(void **state)
{
	struct ps_machine_spec *spec = scene_spec(16384, 16384);
	const char *text = "A start\nA mmap a 16M anon\nA store a\nA thread B\nB cpu 1\n"
			   "kernel set numa_balancing_scan_delay_ms 0\nkernel set numa_balancing_scan_period_min_ms 1\n"
			   "kernel set numa_balancing_scan_size_mb 1\nkernel set numa_balancing 1\nkernel vmstat\n"
			   "B store a\nB store a\nB store a\nB store a\nB store a\nB store a\nB store a\nB store a\n"
			   "kernel vmstat\nB show a\nkernel set numa_balancing 0\nB store a\nkernel vmstat\nB store a\n"
			   "kernel vmstat\nA exit\n";
	struct ps_script *script = ps_script_parse(text, strlen(text), "x.pgs");
	GString *out = g_string_new(NULL);
	struct ps_script_settings settings = { .check = true, .print = take, .arg = out };
	GError *error = NULL;
	const char *end;

	(void)state;
	spec->cpu_node[1] = 1;
	for (int nid = 0; nid < 2; nid++) {
		spec->read_latency[1][nid] = nid ? 100 : 300;
		spec->write_latency[1][nid] = nid ? 150 : 450;
		spec->read_bandwidth[1][nid] = spec->write_bandwidth[1][nid] = 100000000000;
	}
	if (!ps_script_run(script, spec, &settings, &error))
		fail_msg("%s", error->message);
	assert_non_null(strstr(out->str, "numa_hint_faults+"));
	assert_non_null(strstr(out->str, "numa_pages_migrated+"));
	assert_non_null(strstr(out->str, "] node=1 "));
	end = g_strrstr(out->str, "> B store a");
	assert_string_equal(end, "> B store a\n> kernel vmstat\n> A exit\n");
	ps_script_free(script);
	g_string_free(out, TRUE);
}

/*
 * A file's clean pages on node 0; nobody maps them.
 * Expect that `kernel reclaim` drops about as many as it was asked for, and refuses a node without memory.
 */
static void kernel_reclaim_takes_pages_of_a_node(void **state)
{
	char *out = transcript(4096, 0,
			       "A start\nA pwrite /d/f[0:256]\nA fsync /d/f\nkernel reclaim 0 64\nkernel reclaim 1 1\n"
			       "kernel reclaim 77 1\n");

	(void)state;
	assert_non_null(strstr(out, "> kernel reclaim 0 64\n  vmstat: pgsteal_direct+"));
	assert_non_null(strstr(out, "> kernel reclaim 1 1\n  = -EINVAL\n> kernel reclaim 77 1\n  = -EINVAL\n"));
	g_free(out);
}

struct clock {
	ps_ns_t now[8];
	unsigned int n;
};

static bool look_at_clock(void *arg, struct ps_world *world, u32 line)
{
	struct clock *clock = arg;

	(void)line;
	clock->now[clock->n++] = ps_runtime_now(world->rt);
	return true;
}

/* @2ms, then without a time, then a time that has passed: Expect a wait until 2 ms, and none for the others. */
static void a_statement_waits_for_its_time(void **state)
{
	const char *text = "A start\n@2ms A mmap r 8K anon\nA store r\n@1us A load r\n@3ms A exit\n";
	struct ps_script *script = ps_script_parse(text, strlen(text), "x.pgs");
	struct clock clock = { .n = 0 };
	struct ps_script_settings settings = { .after = look_at_clock, .arg = &clock };

	(void)state;
	assert_true(ps_script_run(script, scene_spec(1024, 0), &settings, NULL));
	assert_int_equal(clock.n, 5);
	assert_true(clock.now[1] - clock.now[0] >= 1900000);
	assert_true(clock.now[1] < 2100000);
	assert_true(clock.now[3] < 2200000);
	assert_true(clock.now[4] >= 3000000);
	ps_script_free(script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_setting_takes_what_the_kernels_file_takes),
		cmocka_unit_test(a_setting_nobody_has_is_one_error_that_lists_those_there_are),
		cmocka_unit_test(settings_change_what_faults_do),
		cmocka_unit_test(numa_balancing_moves_the_memory_of_a_script),
		cmocka_unit_test(kernel_reclaim_takes_pages_of_a_node),
		cmocka_unit_test(a_statement_waits_for_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, scene_nothing_left);
}
