/* SPDX-License-Identifier: MIT */
/* The words of a transcript, as the guest writes them. */
#include "cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "say.h"

static struct transcript *transcript;

static int set_up(void **state)
{
	transcript = calloc(1, sizeof(*transcript));
	return !transcript;
}

static int tear_down(void **state)
{
	free(transcript);
	return 0;
}

static void results_are_numbers_or_names_of_errors(void **state)
{
	say_into(transcript);
	say_result(0);
	say_result(512);
	say_result(-EBUSY);
	say_result(-EOPNOTSUPP);
	assert_string_equal(transcript->text, "  = 0\n  = 512\n  = -EBUSY\n  = -EOPNOTSUPP\n");
	assert_int_equal(transcript->length, strlen(transcript->text));
}

/* A run of one prints [5]; one with a step ends at last + step. */
static void runs(void **state)
{
	say_into(transcript);
	say_run("", 5, 5, 1);
	say_run("", 5, 5, 4);
	say_run("r", 0, 11, 1);
	say_run("", 0, 12, 4);
	assert_string_equal(transcript->text, "[5][5]r[0:12][0:16:4]");
}

static void equal_statuses_are_folded(void **state)
{
	static const int status[] = { 1, 1, -EFAULT, STATUS_UNSET, STATUS_UNSET, 0 };

	say_into(transcript);
	say_status("", status, 10, 6, 1);
	assert_string_equal(transcript->text, " [10:12]=1 [12]=-EFAULT [13:15]=unset [15]=0");
	say_into(transcript);
	say_status("r", status, 0, 3, 2);
	assert_string_equal(transcript->text, " r[0:4:2]=1 r[4]=-EFAULT");
}

/* Expect what fitted, and a flag; never a cut number that looks like one. */
static void a_transcript_that_is_too_long_says_so(void **state)
{
	u32 length = 0;

	say_into(transcript);
	while (!transcript->full) {
		length = transcript->length;
		say("  [0] node=0 ref=1 map=1 and so on, for sixty-four letters and more\n");
	}
	assert_int_equal(transcript->length, length);
	assert_int_equal(strlen(transcript->text), length);
	assert_int_equal(transcript->text[length - 1], '\n');
	say_into(transcript);
	assert_false(transcript->full);
	assert_string_equal(transcript->text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_are_numbers_or_names_of_errors),
		cmocka_unit_test(runs),
		cmocka_unit_test(equal_statuses_are_folded),
		cmocka_unit_test(a_transcript_that_is_too_long_says_so),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
