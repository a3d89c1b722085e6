/* SPDX-License-Identifier: MIT */
/*
 * The whole computer: random programs never break an invariant, lose a word, leak or crash.
 *
 *      test-engines-world                      300 scripts of 120 operations
 *      test-engines-world --slow               10,000 scripts
 *      test-engines-world --seed N OPERATIONS  one script, telling what it does
 *      test-engines-world --hunt N M OPERATIONS  scripts N to M
 */
#include "engines/random_script.h"

static u64 first_script = 1, last_script = 300;
static unsigned int operations = 120;

static void random_programs_break_nothing(void **state)
{
	u64 seed, bad = 0;

	(void)state;
	for (seed = first_script; seed <= last_script && bad < 10; seed++)
		bad += !run_random_script(seed, operations, false);
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_programs_break_nothing),
	};

	if (argc == 4 && !strcmp(argv[1], "--seed"))
		return !run_random_script(strtoull(argv[2], NULL, 0), (unsigned int)strtoul(argv[3], NULL, 0), true);
	if (argc == 5 && !strcmp(argv[1], "--hunt")) {
		first_script = strtoull(argv[2], NULL, 0);
		last_script = strtoull(argv[3], NULL, 0);
		operations = (unsigned int)strtoul(argv[4], NULL, 0);
	}
	if (argc == 2 && !strcmp(argv[1], "--slow"))
		last_script = 10000;
	return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
