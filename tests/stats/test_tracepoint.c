/* SPDX-License-Identifier: MIT */
/*
 * Tracepoints: whoever listens hears, in order, with Linux's text; nobody listening costs nothing but a branch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <pagesim/vmstat.h>

static struct task_struct task;

static int setup(void **state)
{
	memset(&task, 0, sizeof(task));
	task.stats = ps_stats_new();
	ps_current = &task;
	*state = NULL;
	return task.stats ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	ps_stats_free(task.stats);
	ps_current = NULL;
	return 0;
}

/* Records what it hears, as text, one event per line, with its own letter in front. */
struct recorder {
	char letter;
	char *log;
};

static void record(void *arg, enum ps_tracepoint tracepoint, const void *event)
{
	const struct recorder *r = (const struct recorder *)arg;
	char text[256];

	assert_true(ps_tracepoint_format(text, sizeof(text), tracepoint, event) > 0);
	sprintf(r->log + strlen(r->log), "%c %s: %s\n", r->letter, ps_tracepoint_name(tracepoint), text);
}

/* Print formats of include/trace/events/migrate.h of Linux 6.1. */
static void events_print_as_linux_prints_them(void **state)
{
	char log[2048] = "";
	struct recorder r = { 'a', log };
	struct ps_probe probe[PS_NR_TRACEPOINTS];

	(void)state;
	for (int i = 0; i < PS_NR_TRACEPOINTS; i++) {
		probe[i] = (struct ps_probe){ .tracepoint = (enum ps_tracepoint)i, .fn = record, .arg = &r };
		assert_int_equal(ps_probe_register(task.stats, &probe[i]), 0);
	}
	trace_mm_migrate_pages_start(2, 3);
	trace_set_migration_pte(0x100000001000, 0xabc, 0);
	trace_remove_migration_pte(0x100000001000, 0xdef, 0);
	trace_set_migration_pmd(0x100000200000, 0x1);
	trace_remove_migration_pmd(0x100000200000, 0x2);
	trace_mm_migrate_pages(1, 2, 3, 4, 5, 6, 0, 8);
	trace_mm_migrate_pages_start(7, -1);
	assert_string_equal(
		log, "a mm_migrate_pages_start: mode=MIGRATE_SYNC reason=syscall_or_cpuset\n"
		     "a set_migration_pte: addr=100000001000, pte=abc order=0\n"
		     "a remove_migration_pte: addr=100000001000, pte=def order=0\n"
		     "a set_migration_pmd: addr=100000200000, pmd=1\n"
		     "a remove_migration_pmd: addr=100000200000, pmd=2\n"
		     "a mm_migrate_pages: nr_succeeded=1 nr_failed=2 nr_thp_succeeded=3 nr_thp_failed=4 nr_thp_split=5 "
		     "mode=MIGRATE_ASYNC reason=demotion\n"
		     "a mm_migrate_pages_start: mode=? reason=?\n");
}

static int evaluated;

static int costly(void)
{
	return ++evaluated;
}

static void without_a_listener_arguments_are_not_evaluated(void **state)
{
	char log[256] = "";
	struct recorder r = { 'a', log };
	struct ps_probe probe = { .tracepoint = PS_TP_mm_migrate_pages_start, .fn = record, .arg = &r };

	(void)state;
	evaluated = 0;
	trace_mm_migrate_pages_start(costly(), costly());
	assert_int_equal(evaluated, 0);
	assert_int_equal(ps_probe_register(task.stats, &probe), 0);
	trace_mm_migrate_pages_start(costly(), 0);
	assert_int_equal(evaluated, 1);
	assert_string_equal(log, "a mm_migrate_pages_start: mode=MIGRATE_SYNC_LIGHT reason=compaction\n");
}

static void listeners_hear_in_the_order_they_came_until_they_leave(void **state)
{
	char log[256] = "";
	struct recorder r[] = { { 'a', log }, { 'b', log }, { 'c', log } };
	struct ps_probe probe[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		probe[i] = (struct ps_probe){ .tracepoint = PS_TP_set_migration_pmd, .fn = record, .arg = &r[i] };
		assert_int_equal(ps_probe_register(task.stats, &probe[i]), 0);
	}
	assert_int_equal(ps_probe_register(task.stats, &probe[1]), -EEXIST);
	assert_int_equal(ps_probe_unregister(task.stats, &probe[1]), 0);
	assert_int_equal(ps_probe_unregister(task.stats, &probe[1]), -ENOENT);
	trace_set_migration_pmd(1, 2);
	/* A listener of another tracepoint hears nothing. */
	trace_remove_migration_pmd(1, 2);
	assert_string_equal(log, "a set_migration_pmd: addr=1, pmd=2\nc set_migration_pmd: addr=1, pmd=2\n");
}

static void a_listener_must_name_a_tracepoint_and_a_function(void **state)
{
	struct ps_probe nobody = { .tracepoint = PS_TP_set_migration_pmd };
	struct ps_probe nothing = { .tracepoint = PS_NR_TRACEPOINTS, .fn = record };
	char text[8];

	(void)state;
	assert_int_equal(ps_probe_register(task.stats, &nobody), -EINVAL);
	assert_int_equal(ps_probe_register(task.stats, &nothing), -EINVAL);
	assert_int_equal(ps_probe_unregister(task.stats, &nothing), -ENOENT);
	assert_int_equal(ps_tracepoint_format(text, sizeof(text), PS_NR_TRACEPOINTS, NULL), -ENOENT);
	assert_null(ps_tracepoint_name(-1));
	assert_int_equal(ps_tracepoint_find("mm_migrate"), -ENOENT);
	for (int i = 0; i < PS_NR_TRACEPOINTS; i++)
		assert_int_equal(ps_tracepoint_find(ps_tracepoint_name(i)), i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_print_as_linux_prints_them, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_listener_arguments_are_not_evaluated, setup, teardown),
		cmocka_unit_test_setup_teardown(listeners_hear_in_the_order_they_came_until_they_leave, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_listener_must_name_a_tracepoint_and_a_function, setup, teardown),
	};

	return cmocka_run_group_tests_name("tracepoint", tests, NULL, NULL);
}
