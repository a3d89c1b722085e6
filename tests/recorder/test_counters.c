/* SPDX-License-Identifier: MIT */
/*
 * Which counters and settings the guest knows. The list of watched counters is pagesim's, so that both sides of a comparison
 * watch the same.
 */
#include "cmocka_all.h"

#include <string.h>

#include <pagesim/vmstat.h>

#include "counters.h"
#include "settings.h"

static void watched_counters_are_pagesims(void **state)
{
	static const char *const watched[] = { "pgpromote_success",       "pswpin",
					       "pgmigrate_fail",          "thp_split_page",
					       "unevictable_pgs_mlocked", "balloon_migrate" };
	static const char *const others[] = { "pgfault",       "numa_hit", "unevictable_pgs_culled",
					      "nr_free_pages", "",         "thp_" };

	for (size_t i = 0; i < ARRAY_SIZE(watched); i++)
		assert_true(counter_is_watched(watched[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(counter_is_watched(others[i]));
}

static void settings_of_the_language_have_files(void **state)
{
	static const char *const names[] = { "thp_enabled",    "thp_defrag",       "shmem_enabled", "use_zero_page",
					     "numa_balancing", "demotion_enabled", "swappiness" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(setting_path(names[i])[0], '/');
	assert_null(setting_path("panic"));
	assert_null(setting_path(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watched_counters_are_pagesims),
		cmocka_unit_test(settings_of_the_language_have_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
