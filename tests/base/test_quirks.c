/* SPDX-License-Identifier: MIT */
/* The mechanism of quirks, compiled here with a list of its own, long enough for two words. */
#define PS_QUIRKS_DEF "base/quirks_of_test.def"

#include "base/quirks.c"

#include "cmocka_all.h"

static void every_quirk_is_off_until_enabled(void **state)
{
	struct ps_quirk_set set = { { 0 } };
	int id;

	assert_int_equal(PS_NR_QUIRKS, 68);
	for (id = 0; id < (int)PS_NR_QUIRKS; id++)
		assert_false(ps_quirk(id));
	assert_int_equal(ps_quirk_set_enable(&set, PS_QUIRK_Q16_2, true), 0);
	ps_quirks_use(&set);
	for (id = 0; id < (int)PS_NR_QUIRKS; id++)
		assert_int_equal(!!ps_quirk(id), id == PS_QUIRK_Q16_2);
	assert_int_equal(ps_quirk_set_enable(&set, PS_QUIRK_Q16_2, false), 0);
	assert_false(ps_quirk(PS_QUIRK_Q16_2));
	ps_quirks_use(NULL);
	assert_false(ps_quirk(PS_QUIRK_Q0_0));
}

static void quirks_are_found_by_name(void **state)
{
	int id;

	for (id = 0; id < (int)PS_NR_QUIRKS; id++)
		assert_int_equal(ps_quirk_by_name(ps_quirk_name(id)), id);
	assert_string_equal(ps_quirk_name(PS_QUIRK_Q3_1), "q3-1");
	assert_int_equal(ps_quirk_year(PS_QUIRK_Q3_1), 2003);
	assert_string_equal(ps_quirk_text(PS_QUIRK_Q3_1), "text 3.1");
	assert_int_equal(ps_quirk_by_name("no-such-quirk"), -EINVAL);
}

static void an_id_outside_the_list_is_refused(void **state)
{
	static const int ids[] = { -1, PS_NR_QUIRKS, 1 << 30 };
	struct ps_quirk_set set = { { 0 } };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(ps_quirk_set_enable(&set, ids[i], true), -EINVAL);
		assert_null(ps_quirk_name(ids[i]));
		assert_null(ps_quirk_text(ids[i]));
		assert_int_equal(ps_quirk_year(ids[i]), 0);
	}
	assert_int_equal(set.on[0] | set.on[1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_quirk_is_off_until_enabled),
		cmocka_unit_test(quirks_are_found_by_name),
		cmocka_unit_test(an_id_outside_the_list_is_refused),
	};

	return cmocka_run_group_tests_name("quirks", tests, NULL, NULL);
}
