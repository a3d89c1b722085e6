/* SPDX-License-Identifier: MIT */
/*
 * Random scripts never break an invariant, lose a word, leak, warn, crash or hang, whatever the machine; and when the host's
 * memory runs out at any moment, what is left is sound.
 *
 *      random-scripts                       400 scripts, and running out of memory at every seventh allocation of three
 *      random-scripts --slow                10,000 scripts, and at every allocation of a dozen
 *      random-scripts --hunt FIRST LAST     these
 *      random-scripts --write DIR FIRST LAST [linux]   only writes them: DIR/NNNN.pgs; `linux`: for recording on a kernel
 *      random-scripts --run FILE            judges one script, and makes it smaller when it fails
 *      random-scripts --nth FILE [N]        runs out of memory at every allocation of one, or at its N-th, and then smaller
 *
 * A script that fails is made smaller and printed; `pagesim replay FILE.pgs --check` shows what it does.
 */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "generate.h"
#include "run.h"
#include "shadow.h"

static u64 first_script = 1, last_script = 400;
static u64 nth_step = 7, nth_scripts = 3;
static u32 words;

static char *make_script(void *arg, u64 number, struct random_run *ret_run)
{
	struct random_settings settings = { .number = number, .words = words };

	(void)arg;
	ret_run->tight = random_script_is_tight(&settings);
	ret_run->generation = number / 8 % 5 == 4 ? "6.3-batch" : NULL;
	return random_script(&settings);
}

static void tell(const char *what, const char *text, struct random_run *run, const struct random_outcome *outcome)
{
	unsigned int runs;
	char *small = random_shrink(text, run, outcome, &runs);
	struct random_outcome again;

	print_error("%s: %s\n", what, outcome->text);
	random_run(small, run, &again);
	print_error("# smaller after %u runs%s%s, and then: %s\n", runs, run->generation ? ", generation " : "",
		    run->generation ? run->generation : "", again.text);
	if (run->fail_nth)
		print_error("# when allocation %lu fails\n", (unsigned long)run->fail_nth);
	print_error("%s# end\n", small);
	g_free(small);
}

struct tally {
	u64 run, bad;
	GHashTable *kinds; /* told already */
};

static void heard(void *arg, u64 number, const struct random_outcome *outcome)
{
	struct tally *tally = arg;
	struct random_run run = { 0 };
	char what[64], *text;

	tally->run++;
	if (!outcome->failed)
		return;
	tally->bad++;
	snprintf(what, sizeof(what), "script %lu", (unsigned long)number);
	if (!g_hash_table_add(tally->kinds, g_strdup(outcome->kind))) {
		print_error("%s: %s\n", what, outcome->text);
		return;
	}
	text = make_script(NULL, number, &run);
	tell(what, text, &run, outcome);
	g_free(text);
}

static void random_scripts_break_nothing(void **state)
{
	struct tally tally = { .kinds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL) };

	(void)state;
	print_message("scripts %lu to %lu\n", (unsigned long)first_script, (unsigned long)last_script);
	random_run_many(first_script, last_script, make_script, heard, &tally);
	g_hash_table_destroy(tally.kinds);
	assert_int_equal(tally.run, last_script - first_script + 1);
	assert_int_equal(tally.bad, 0);
}

/* ---- out of memory */

struct nth {
	const char *text;
	struct random_run run;
	u64 step, runs, bad;
	bool all_served;
};

static char *make_nth(void *arg, u64 number, struct random_run *ret_run)
{
	const struct nth *nth = arg;

	*ret_run = nth->run;
	ret_run->fail_nth = 1 + (number - 1) * nth->step;
	return g_strdup(nth->text);
}

static void heard_nth(void *arg, u64 number, const struct random_outcome *outcome)
{
	struct nth *nth = arg;
	struct random_run run = nth->run;
	char what[64];

	nth->runs++;
	nth->all_served |= outcome->all_served;
	if (!outcome->failed || nth->bad++)
		return;
	run.fail_nth = 1 + (number - 1) * nth->step;
	snprintf(what, sizeof(what), "allocation %lu, line %u", (unsigned long)run.fail_nth, outcome->line);
	tell(what, nth->text, &run, outcome);
}

/* Return: how many allocations were made to fail; *@ret_bad: after how many of them something was wrong. */
static u64 fail_each(const char *text, const struct random_run *run, u64 step, u64 *ret_bad)
{
	struct nth nth = { .text = text, .run = *run, .step = step };
	u64 first = 1;

	for (; !nth.all_served; first += 100)
		random_run_many(first, first + 99, make_nth, heard_nth, &nth);
	*ret_bad = nth.bad;
	return nth.runs;
}

static void running_out_of_memory_breaks_nothing(void **state)
{
	u64 k, bad, failures = 0, all = 0;

	(void)state;
	for (k = 0; k < nth_scripts; k++) {
		/* Machines in turn, but not the big one: what is asked of the host there takes long and shows no more. */
		struct random_settings settings = { .number = 100001 + k, .words = words, .statements = 60 };
		struct random_run run = { .tight = true };
		char *text;

		if (settings.number % 8 == 2)
			settings.machine = "linux-6.1,bits=3,0=4M,1=4M,2=4M,min-free=32";
		text = random_script(&settings);
		all += fail_each(text, &run, nth_step, &bad);
		failures += bad;
		g_free(text);
	}
	print_message("%lu runs\n", (unsigned long)all);
	assert_true(all > 100);
	assert_int_equal(failures, 0);
}

/* ---- the test's own tools */

/* The shadow is no rubber stamp: each transcript here is one that a program must not see. */
static void the_shadow_notices_a_lost_word(void **state)
{
	static const struct {
		const char *statement, *good, *bad;
	} table[] = {
		{ "A start", "", NULL },
		{ "A mmap r 16K anon", "  = 0\n", NULL },
		{ "A check r =1", "  = 4\n", "  = 3\n" },
		{ "A store r[1:3] =1", "", "  = -EFAULT\n  fault: [1] SIGSEGV\n" },
		{ "A check r =1", "  = 2\n", "  = 4\n" },
		{ "A fork B", "", NULL },
		{ "B store r =2", "", NULL },
		{ "A check r =1", "  = 2\n", "  = 4\n" },
		{ "A munmap r[1]", "  = 0\n", NULL },
		{ "A load r", "  = -EFAULT\n  fault: [1] SIGSEGV\n", "" },
		{ "A mmap f 8K file /d/f", "  = 0\n", NULL },
		{ "A store f =7", "", NULL },
		{ "A truncate /d/f 1", "  = 0\n", NULL },
		{ "A check f[0] =7", "  = 0\n", "  = 1\n" },
		{ "A load f", "  = -EFAULT\n  fault: [1] SIGBUS\n", "" },
		{ "A pread /d/f[0:2]", "  = 1\n", "  = 2\n" },
		{ "B check r =2", "  = 0\n", "  = 1\n" },
	};
	struct shadow *shadow = shadow_new(512);
	unsigned int i;

	(void)state;
	for (i = 0; i < G_N_ELEMENTS(table); i++) {
		struct ps_script *script = ps_script_parse(table[i].statement, strlen(table[i].statement), "line");
		char *text = g_strdup_printf("> %s\n%s", table[i].statement, table[i].bad ? table[i].bad : ""),
		     *complaint;

		assert_int_equal(script->n, 1);
		if (table[i].bad) {
			/* Before the good one: a store that faulted changes nothing. */
			complaint = shadow_step(shadow, script->statements, text);
			if (!complaint)
				fail_msg("'%s' was believed to print '%s'", table[i].statement, table[i].bad);
			g_free(complaint);
		}
		g_free(text);
		text = g_strdup_printf("> %s\n%s", table[i].statement, table[i].good);
		complaint = shadow_step(shadow, script->statements, text);
		if (complaint)
			fail_msg("'%s': %s", table[i].statement, complaint);
		g_free(text);
		ps_script_free(script);
	}
	shadow_free(shadow);
}

static void a_script_follows_from_its_number(void **state)
{
	u64 number;

	(void)state;
	for (number = 1; number <= 40; number++) {
		struct random_settings settings = { .number = number, .words = words, .for_linux = number % 2 };
		char *a = random_script(&settings), *b = random_script(&settings);

		assert_string_equal(a, b);
		g_free(a);
		g_free(b);
	}
}

/* Only the statements without which it does not fail are left. */
static void a_failing_script_is_made_smaller(void **state)
{
	static const char *const text = "A start\nA mmap r 4K anon\nA store r =1\nA fork B\nA mmap s 4K anon\n"
					"B show r\nA check r =1\nC show r\nA show r\n";
	struct random_run run = { 0 };
	struct random_outcome outcome;
	unsigned int runs;
	char *small;

	(void)state;
	assert_false(random_run(text, &run, &outcome));
	assert_int_equal(outcome.line, 7);
	small = random_shrink(text, &run, &outcome, &runs);
	assert_string_equal(small, "C show r\n");
	g_free(small);
}

/* ---- by hand */

static int write_scripts(const char *dir, u64 first, u64 last, bool for_linux)
{
	u64 number;

	for (number = first; number <= last; number++) {
		struct random_settings settings = { .number = number, .words = words, .for_linux = for_linux };
		char *path = g_strdup_printf("%s/%04lu.pgs", dir, (unsigned long)number),
		     *text = random_script(&settings);
		GError *error = NULL;

		if (!g_file_set_contents(path, text, -1, &error)) {
			fprintf(stderr, "%s\n", error->message);
			return 1;
		}
		g_free(path);
		g_free(text);
	}
	return 0;
}

static int run_file(const char *path, bool each, u64 nth)
{
	struct random_run run = { .tight = each };
	struct random_outcome outcome;
	GError *error = NULL;
	char *text;
	u64 bad = 0;

	if (!g_file_get_contents(path, &text, NULL, &error)) {
		fprintf(stderr, "%s\n", error->message);
		return 1;
	}
	run.fail_nth = nth;
	if (each && !nth)
		printf("%lu runs\n", (unsigned long)fail_each(text, &run, 1, &bad));
	else if (!random_run(text, &run, &outcome))
		tell(path, text, &run, &outcome), bad++;
	g_free(text);
	return bad != 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shadow_notices_a_lost_word),
		cmocka_unit_test(a_script_follows_from_its_number),
		cmocka_unit_test(a_failing_script_is_made_smaller),
		cmocka_unit_test(running_out_of_memory_breaks_nothing),
		cmocka_unit_test(random_scripts_break_nothing),
	};

	const struct CMUnitTest hunt[] = { cmocka_unit_test(random_scripts_break_nothing) };

	words = random_words();
	if (argc >= 5 && !strcmp(argv[1], "--write"))
		return write_scripts(argv[2], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0),
				     argc > 5 && !strcmp(argv[5], "linux"));
	if (argc >= 3 && (!strcmp(argv[1], "--run") || !strcmp(argv[1], "--nth")))
		return run_file(argv[2], !strcmp(argv[1], "--nth"), argc > 3 ? strtoull(argv[3], NULL, 0) : 0);
	if (argc == 4 && !strcmp(argv[1], "--hunt")) {
		first_script = strtoull(argv[2], NULL, 0);
		last_script = strtoull(argv[3], NULL, 0);
		return cmocka_run_group_tests_name("hunt", hunt, NULL, NULL);
	}
	if (argc == 2 && !strcmp(argv[1], "--slow")) {
		last_script = 10000;
		nth_scripts = 12;
		nth_step = 1;
	}
	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
