/* SPDX-License-Identifier: MIT */
/*
 * Policies as such: finding them, reading their settings, putting one to work and taking it away.
 */
#include "engines/tiers.h"

#include <pagesim/policy.h>

static const struct tier_node fast_slow[] = { { 32, 2, PS_MEMORY_DRAM }, { 64, 0, PS_MEMORY_CXL } };

static void policies_are_found_by_name_and_in_order(void **state)
{
	const struct ps_policy_ops *ops;
	unsigned int i, p;

	(void)state;
	assert_string_equal(ps_policy_at(0)->name, "none");
	for (i = 0; (ops = ps_policy_at(i)); i++) {
		assert_ptr_equal(ps_policy_find(ops->name), ops);
		assert_true(strlen(ops->what) > 10);
		for (p = 0; ops->params && ops->params[p].name; p++) {
			assert_true(strlen(ops->params[p].what) > 10);
			assert_in_range(ops->params[p].def, ops->params[p].min, ops->params[p].max);
		}
		assert_true(p <= PS_POLICY_PARAMS_MAX);
	}
	assert_true(i >= 2);
	assert_null(ps_policy_find("nun"));
	assert_null(ps_policy_find(""));
}

static void settings_are_read(void **state)
{
	struct ps_policy_settings settings;
	GError *error = NULL;

	(void)state;
	assert_true(ps_policy_parse("none", &settings, &error));
	assert_ptr_equal(settings.ops, ps_policy_find("none"));
	assert_int_equal(settings.set, 0);
	assert_true(ps_policy_parse("numa-balancing,mode=2,hot_threshold=500", &settings, &error));
	assert_ptr_equal(settings.ops, ps_policy_find("numa-balancing"));
	assert_null(error);
	assert_int_equal(__builtin_popcount(settings.set), 2);
	assert_true(ps_policy_parse("none", &settings, NULL));
}

/* Expect every wrong text to end in one error that says what was found and what there is, and the settings untouched. */
static void wrong_settings_are_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *found, *exists;
	} cases[] = {
		{ "", PS_POLICY_ERROR_UNKNOWN, "''", "none, numa-balancing" },
		{ "numa", PS_POLICY_ERROR_UNKNOWN, "'numa'", "none, numa-balancing" },
		{ ",mode=1", PS_POLICY_ERROR_UNKNOWN, "''", "none, numa-balancing" },
		{ "numa-balancing,", PS_POLICY_ERROR_PARAM, "''", "mode, scan_delay" },
		{ "numa-balancing,mode", PS_POLICY_ERROR_PARAM, "'mode'", "mode, scan_delay" },
		{ "numa-balancing,speed=1", PS_POLICY_ERROR_PARAM, "'speed'", "hot_threshold" },
		{ "numa-balancing,=1", PS_POLICY_ERROR_PARAM, "''", "hot_threshold" },
		{ "numa-balancing,mode=1,mode=2", PS_POLICY_ERROR_PARAM, "mode", "twice" },
		{ "numa-balancing,mode=", PS_POLICY_ERROR_VALUE, "''", "1 to 3" },
		{ "numa-balancing,mode=4", PS_POLICY_ERROR_VALUE, "'4'", "1 to 3" },
		{ "numa-balancing,mode=-1", PS_POLICY_ERROR_VALUE, "'-1'", "1 to 3" },
		{ "numa-balancing,mode=1x", PS_POLICY_ERROR_VALUE, "'1x'", "1 to 3" },
		{ "numa-balancing,mode=99999999999999999999", PS_POLICY_ERROR_VALUE, "'99999999999999999999'",
		  "1 to 3" },
		{ "numa-balancing,scan_size=0", PS_POLICY_ERROR_VALUE, "'0'", "from 1" },
		{ "numa-balancing,scan_period_min=100,scan_period_max=50", PS_POLICY_ERROR_VALUE, "scan_period_min",
		  "above" },
		{ "none,mode=1", PS_POLICY_ERROR_PARAM, "'mode'", "demotion" },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ps_policy_settings settings = { .set = 77 };
		GError *error = NULL;

		assert_false(ps_policy_parse(cases[i].text, &settings, &error));
		assert_non_null(error);
		assert_true(error->domain == PS_POLICY_ERROR);
		if (error->code != cases[i].code || !strstr(error->message, cases[i].found) ||
		    !strstr(error->message, cases[i].exists))
			fail_msg("%s: %s", cases[i].text, error->message);
		assert_null(strchr(error->message, '\n'));
		assert_int_equal(settings.set, 77);
		g_error_free(error);
	}
}

static void only_one_policy_at_a_time(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	struct ps_policy *policy, *second = NULL;
	struct ps_policy_settings settings;
	u64 value;

	(void)state;
	assert_true(ps_policy_parse("numa-balancing,mode=2,scan_size=16", &settings, NULL));
	assert_int_equal(ps_policy_attach(t->world, &settings, &policy), 0);
	assert_int_equal(ps_policy_attach(t->world, NULL, &second), -EBUSY);
	assert_null(second);
	assert_true(ps_policy_value(policy, "scan_size", &value));
	assert_int_equal(value, 16);
	assert_true(ps_policy_value(policy, "scan_delay", &value));
	assert_int_equal(value, 1000);
	assert_false(ps_policy_value(policy, "scan", &value));
	/* Tiering wants demotion, unless told otherwise. */
	assert_true(ps_policy_value(policy, "demotion", &value));
	assert_int_equal(value, 1);
	assert_true(t->world->machine->reclaim->demotion_enabled);
	assert_int_equal(t->world->machine->faults->numa_balancing, NUMA_BALANCING_MEMORY_TIERING);
	ps_policy_detach(policy);
	assert_false(t->world->machine->reclaim->demotion_enabled);
	assert_int_equal(t->world->machine->faults->numa_balancing, 0);
	assert_null(t->world->machine->faults->numa.misplaced);
	assert_null(t->world->machine->policy);

	/* From the host as well, and `none` when nothing is said. */
	ps_task_leave();
	assert_int_equal(ps_policy_attach(t->world, NULL, &policy), 0);
	assert_string_equal(policy->ops->name, "none");
	ps_policy_detach(policy);
	assert_true(ps_policy_parse("numa-balancing,mode=3,demotion=0", &settings, NULL));
	assert_int_equal(ps_policy_attach(t->world, &settings, &policy), 0);
	assert_false(t->world->machine->reclaim->demotion_enabled);
	ps_policy_detach(policy);
	ps_policy_detach(NULL);
	assert_true(ps_policy_parse("none,demotion=1", &settings, NULL));
	assert_int_equal(ps_policy_attach(t->world, &settings, &policy), 0);
	assert_true(t->world->machine->reclaim->demotion_enabled);
	ps_task_enter(t->task);
	assert_true(ps_policy_tick(policy) == PS_POLICY_NEVER);
	assert_true(ps_policy_tick(NULL) == PS_POLICY_NEVER);
	ps_policy_task_exit(policy, t->task);
	assert_null(ps_policy_stat(policy, 0, &value));
	ps_policy_detach(policy);
	tiers_close(t);
}

/* Settings not made by the parser. */
static void impossible_settings_are_refused(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	struct ps_policy_settings settings = { .ops = ps_policy_find("numa-balancing"), .value = { 9 }, .set = 1 };
	struct ps_policy *policy = NULL;

	(void)state;
	assert_int_equal(ps_policy_attach(t->world, &settings, &policy), -EINVAL);
	settings.set = 1u << 15;
	assert_int_equal(ps_policy_attach(t->world, &settings, &policy), -EINVAL);
	assert_null(policy);
	assert_null(t->world->machine->policy);
	tiers_close(t);
}

static void attaching_without_memory_changes_nothing(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	struct ps_policy_settings settings;
	u64 n;

	(void)state;
	assert_true(ps_policy_parse("numa-balancing,mode=2", &settings, NULL));
	for (n = 1;; n++) {
		struct ps_policy *policy = NULL;
		int error;

		ps_alloc_fail_nth(n);
		error = ps_policy_attach(t->world, &settings, &policy);
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(error, 0);
			ps_policy_detach(policy);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		assert_null(t->world->machine->policy);
		assert_false(t->world->machine->reclaim->demotion_enabled);
	}
	assert_true(n > 2);
	tiers_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_are_found_by_name_and_in_order),
		cmocka_unit_test(settings_are_read),
		cmocka_unit_test(wrong_settings_are_refused),
		cmocka_unit_test(only_one_policy_at_a_time),
		cmocka_unit_test(impossible_settings_are_refused),
		cmocka_unit_test(attaching_without_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
