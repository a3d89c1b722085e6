/* SPDX-License-Identifier: MIT */
/*
 * Counters: Linux's names in Linux's order, counted where they belong, read back by name, as differences, as text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <pagesim/alloc.h>
#include <pagesim/vmstat.h>

/* Only what __count_zid_vm_events needs of mmzone.h, a higher layer's header. */
enum { ZONE_NORMAL, ZONE_MOVABLE };

static struct task_struct task;

static int setup(void **state)
{
	memset(&task, 0, sizeof(task));
	task.stats = ps_stats_new();
	ps_current = &task;
	*state = task.stats;
	return task.stats ? 0 : -1;
}

static int teardown(void **state)
{
	struct ps_alloc_counts counts;

	ps_current = NULL;
	ps_stats_free((struct ps_stats *)*state);
	ps_alloc_counts(&counts);
	return counts.live ? -1 : 0;
}

/*
 * Provenance of the list: reference/linux-6.1/README.md, "vmstat", the counters the transcripts of Linux 6.1.192 watch,
 * in /proc/vmstat order.
 */
static const char *const watched[] = {
	"pgpromote_success",
	"pgpromote_candidate",
	"pswpin",
	"pswpout",
	"pgsteal_kswapd",
	"pgsteal_direct",
	"pgdemote_kswapd",
	"pgdemote_direct",
	"pgsteal_anon",
	"pgsteal_file",
	"numa_pte_updates",
	"numa_huge_pte_updates",
	"numa_hint_faults",
	"numa_hint_faults_local",
	"numa_pages_migrated",
	"pgmigrate_success",
	"pgmigrate_fail",
	"thp_migration_success",
	"thp_migration_fail",
	"thp_migration_split",
	"compact_migrate_scanned",
	"compact_free_scanned",
	"compact_isolated",
	"compact_stall",
	"compact_fail",
	"compact_success",
	"compact_daemon_wake",
	"compact_daemon_migrate_scanned",
	"compact_daemon_free_scanned",
	"unevictable_pgs_mlocked",
	"unevictable_pgs_munlocked",
	"thp_fault_alloc",
	"thp_fault_fallback",
	"thp_fault_fallback_charge",
	"thp_collapse_alloc",
	"thp_collapse_alloc_failed",
	"thp_file_alloc",
	"thp_file_fallback",
	"thp_file_fallback_charge",
	"thp_file_mapped",
	"thp_split_page",
	"thp_split_page_failed",
	"thp_deferred_split_page",
	"thp_split_pmd",
	"thp_scan_exceed_none_pte",
	"thp_scan_exceed_swap_pte",
	"thp_scan_exceed_share_pte",
	"thp_split_pud",
	"thp_zero_page_alloc",
	"thp_zero_page_alloc_failed",
	"thp_swpout",
	"thp_swpout_fallback",
	"balloon_inflate",
	"balloon_deflate",
	"balloon_migrate",
};

/* Expect the flagged counters to be exactly those of the transcripts, in their order. */
static void the_watched_counters_are_those_of_the_transcripts_in_their_order(void **state)
{
	size_t n = 0;

	(void)state;
	for (int i = 0; i < PS_NR_VMSTAT; i++) {
		if (!(ps_vmstat_flags(i) & PS_VMSTAT_WATCHED))
			continue;
		assert_true(n < ARRAY_SIZE(watched));
		assert_string_equal(ps_vmstat_name(i), watched[n]);
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(watched));
}

/* Expect every name to lead back to its own index, so that no name is there twice. */
static void every_name_is_found_and_is_unique(void **state)
{
	(void)state;
	for (int i = 0; i < PS_NR_VMSTAT; i++)
		assert_int_equal(ps_vmstat_find(ps_vmstat_name(i)), i);
	assert_int_equal(ps_vmstat_find("pgmigrate"), -ENOENT);
	assert_int_equal(ps_vmstat_find(""), -ENOENT);
	assert_null(ps_vmstat_name(-1));
	assert_null(ps_vmstat_name(PS_NR_VMSTAT));
	assert_int_equal(ps_vmstat_flags(PS_NR_VMSTAT), 0);
}

static s64 read_named(const char *name, nid_t nid)
{
	int i = ps_vmstat_find(name);

	assert_true(i >= 0);
	return ps_vmstat_read(task.stats, nid, i);
}

static void events_add_up_under_their_names(void **state)
{
	(void)state;
	count_vm_event(PGMIGRATE_SUCCESS);
	count_vm_events(PGMIGRATE_SUCCESS, 511);
	__count_vm_event(PGFAULT);
	assert_int_equal(read_named("pgmigrate_success", NUMA_NO_NODE), 512);
	assert_int_equal(read_named("pgfault", NUMA_NO_NODE), 1);
	assert_int_equal(read_named("pgmigrate_fail", NUMA_NO_NODE), 0);
	/* An event belongs to no node. */
	assert_int_equal(read_named("pgfault", 0), 0);
}

static void an_event_of_a_zone_counts_under_the_zones_name(void **state)
{
	(void)state;
	__count_zid_vm_events(PGALLOC, ZONE_NORMAL, 2);
	__count_zid_vm_events(PGALLOC, ZONE_MOVABLE, 3);
	__count_zid_vm_events(ALLOCSTALL, ZONE_MOVABLE, 1);
	assert_int_equal(read_named("pgalloc_normal", NUMA_NO_NODE), 2);
	assert_int_equal(read_named("pgalloc_movable", NUMA_NO_NODE), 3);
	assert_int_equal(read_named("allocstall_movable", NUMA_NO_NODE), 1);
	assert_int_equal(read_named("pgalloc_dma32", NUMA_NO_NODE), 0);
}

/* Expect counters of a node, of its zones and of NUMA allocation to be kept apart per node and summed over all. */
static void counters_of_nodes_stay_apart_and_sum_up(void **state)
{
	(void)state;
	__mod_node_page_state(0, NR_FILE_PAGES, 10);
	__mod_node_page_state(63, NR_FILE_PAGES, 5);
	__dec_node_page_state(63, NR_FILE_PAGES);
	__mod_zone_counter(1, 0, NR_FREE_PAGES, 100);
	__mod_zone_counter(1, PS_STATS_ZONES - 1, NR_FREE_PAGES, 11);
	count_numa_events(2, NUMA_MISS, 7);
	assert_int_equal(node_page_state(0, NR_FILE_PAGES), 10);
	assert_int_equal(node_page_state(63, NR_FILE_PAGES), 4);
	assert_int_equal(read_named("nr_file_pages", 63), 4);
	assert_int_equal(read_named("nr_file_pages", NUMA_NO_NODE), 14);
	assert_int_equal(read_named("nr_free_pages", 1), 111);
	assert_int_equal(read_named("nr_free_pages", 0), 0);
	assert_int_equal(zone_counter(1, PS_STATS_ZONES - 1, NR_FREE_PAGES), 11);
	assert_int_equal(read_named("numa_miss", 2), 7);
	assert_int_equal(read_named("numa_miss", NUMA_NO_NODE), 7);
	assert_int_equal(ps_vmstat_read(task.stats, MAX_NUMNODES, 0), 0);
	assert_int_equal(ps_vmstat_read(task.stats, 0, PS_NR_VMSTAT), 0);
}

/* Linux shows a counter below zero as zero to those who decide by it; the raw value stays, for a checker to find. */
static void a_negative_counter_reads_as_zero_but_is_not_lost(void **state)
{
	(void)state;
	__mod_node_page_state(0, NR_ISOLATED_ANON, -3);
	assert_int_equal(node_page_state(0, NR_ISOLATED_ANON), 0);
	assert_int_equal(read_named("nr_isolated_anon", 0), -3);
}

/* 1024 base pages in huge pages of 512: two of them; on a machine with huge pages of four: 256. */
static void huge_page_counters_are_shown_in_huge_pages(void **state)
{
	(void)state;
	__mod_node_page_state(0, NR_ANON_THPS, 1024);
	assert_int_equal(read_named("nr_anon_transparent_hugepages", NUMA_NO_NODE), 2);
	task.stats->thp_pages = 4;
	assert_int_equal(read_named("nr_anon_transparent_hugepages", NUMA_NO_NODE), 256);
}

static void a_delta_is_what_happened_between_two_snapshots(void **state)
{
	struct ps_vmstat before, after;
	char text[64];
	int n;

	(void)state;
	count_vm_events(PGMIGRATE_SUCCESS, 5);
	__mod_node_page_state(1, PGPROMOTE_SUCCESS, 2);
	ps_vmstat_snapshot(task.stats, NUMA_NO_NODE, &before);
	count_vm_events(PGMIGRATE_SUCCESS, 3);
	count_vm_events(PGFAULT, 3);
	__mod_node_page_state(1, PGPROMOTE_SUCCESS, -1);
	ps_vmstat_snapshot(task.stats, NUMA_NO_NODE, &after);
	ps_vmstat_delta(&after, &before, &after);
	assert_int_equal(after.value[ps_vmstat_find("pgmigrate_success")], 3);
	assert_int_equal(after.value[ps_vmstat_find("pgpromote_success")], -1);
	assert_int_equal(after.value[ps_vmstat_find("pgpromote_candidate")], 0);

	/* pgfault is not watched; order is that of /proc/vmstat. */
	n = ps_vmstat_format_watched(text, sizeof(text), &after);
	assert_string_equal(text, " pgpromote_success-1 pgmigrate_success+3");
	assert_int_equal(n, strlen(text));

	/* Too small a buffer: cut, ended, and the whole length told. */
	assert_int_equal(ps_vmstat_format_watched(text, 10, &after), n);
	assert_string_equal(text, " pgpromot");
	assert_int_equal(ps_vmstat_format_watched(NULL, 0, &after), n);

	assert_int_equal(ps_vmstat_format(text, sizeof(text), ps_vmstat_find("pgfault"), -7), 10);
	assert_string_equal(text, "pgfault -7");
	assert_int_equal(ps_vmstat_format(text, sizeof(text), PS_NR_VMSTAT, 0), -ENOENT);
}

static void without_memory_there_are_no_counters(void **state)
{
	(void)state;
	ps_alloc_fail_nth(1);
	assert_null(ps_stats_new());
	assert_false(ps_alloc_fail_nth(0));
	ps_stats_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_watched_counters_are_those_of_the_transcripts_in_their_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(every_name_is_found_and_is_unique, setup, teardown),
		cmocka_unit_test_setup_teardown(events_add_up_under_their_names, setup, teardown),
		cmocka_unit_test_setup_teardown(an_event_of_a_zone_counts_under_the_zones_name, setup, teardown),
		cmocka_unit_test_setup_teardown(counters_of_nodes_stay_apart_and_sum_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_negative_counter_reads_as_zero_but_is_not_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_page_counters_are_shown_in_huge_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(a_delta_is_what_happened_between_two_snapshots, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_there_are_no_counters, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmstat", tests, NULL, NULL);
}
