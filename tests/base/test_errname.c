/* SPDX-License-Identifier: MIT */
/* Error numbers by name, both ways. */
#include "cmocka_all.h"

#include <pagesim/errname.h>

static void names_are_the_symbols_of_the_numbers(void **state)
{
	static const struct {
		int err;
		const char *name;
	} cases[] = { { EBUSY, "EBUSY" }, { -EAGAIN, "EAGAIN" },   { ENOMEM, "ENOMEM" }, { -ENOENT, "ENOENT" },
		      { EIO, "EIO" },     { -EDEADLK, "EDEADLK" }, { EFAULT, "EFAULT" }, { 0, "0" },
		      { 4095, "E?" },     { INT32_MIN, "E?" } };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(ps_errno_name(cases[i].err), cases[i].name);
}

static void a_name_leads_back_to_its_number(void **state)
{
	int err;

	for (err = 1; err < 134; err++)
		if (ps_errno_name(err)[1] != '?')
			assert_int_equal(ps_errno_value(ps_errno_name(err)), err);
	assert_int_equal(ps_errno_value("EBUSY"), EBUSY);
	assert_int_equal(ps_errno_value("ENOSUCHTHING"), -EINVAL);
	assert_int_equal(ps_errno_value(""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_the_symbols_of_the_numbers),
		cmocka_unit_test(a_name_leads_back_to_its_number),
	};

	return cmocka_run_group_tests_name("errname", tests, NULL, NULL);
}
