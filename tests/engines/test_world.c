/* SPDX-License-Identifier: MIT */
/*
 * The whole computer: random programs never break an invariant, lose a word, leak or crash.
 *
 *      test-engines-world               300 scripts
 *      test-engines-world --slow        10,000 scripts
 *      test-engines-world --seed N      one script, telling what it does
 */
#include "engines/random_script.h"

static u64 nr_scripts = 300;

static void random_programs_break_nothing(void **state)
{
	u64 seed, bad = 0;

	(void)state;
	for (seed = 1; seed <= nr_scripts && bad < 10; seed++)
		bad += !run_random_script(seed, 120, false);
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_programs_break_nothing),
	};

	if (argc == 3 && !strcmp(argv[1], "--seed"))
		return !run_random_script(strtoull(argv[2], NULL, 0), 120, true);
	if (argc == 2 && !strcmp(argv[1], "--slow"))
		nr_scripts = 10000;
	return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
