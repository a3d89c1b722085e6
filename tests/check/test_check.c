/* SPDX-License-Identifier: MIT */
/*
 * check_machine() itself: it is silent about a sound machine, says how many violations there are beyond those it describes,
 * and survives running out of memory.
 */
#include "check/city.h"

#include <pagesim/compound.h>

static const char *const machines[] = { "two-node", "dram-cxl", "four-socket", "linux-6.1" };

static void a_machine_in_full_use_is_sound(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(machines); i++) {
		struct city city;

		scene_fault_setup(machines[i]);
		expect_sound();
		city_build(&city);
		expect_sound();
		expect_sound_busy();
		scene_close();
	}
}

/* tiny has no room for the city: something of each kind, page by page. */
static void a_tiny_machine_is_sound(void **state)
{
	struct task_struct *a;
	u64 r, h, f;

	(void)state;
	scene_fault_setup("tiny");
	a = start("A", 0);
	r = map_filled(2, 1);
	h = map_huge_filled(1, 2);
	f = map_file("/d/f", 0, 2, RW, SHARED);
	fill(f, 2, 3);
	fork_task("B");
	store(r, 7);
	expect_sound();
	expect_filled(h, huge_pages(), 2);
	as(a);
	scene_close();
}

/* 40 pages with a reference nobody knows: 40 are counted, PS_MAX_VIOLATIONS described. */
static void violations_are_counted_beyond_those_described(void **state)
{
	struct ps_check_report report;
	u64 r, i;

	(void)state;
	scene_fault_setup("one-node");
	start("A", 0);
	r = map_filled(40, 1);
	lru_add_drain_all();
	for (i = 0; i < 40; i++)
		page_ref_inc(page_at(r + pages(i)));
	assert_int_equal(check_machine(scene->machine, NULL, &report), 40);
	assert_int_equal(report.nr, 40);
	for (i = 0; i < PS_MAX_VIOLATIONS; i++)
		assert_int_equal(report.violation[i].invariant, 3);
	for (i = 0; i < 40; i++)
		page_ref_dec(page_at(r + pages(i)));
	scene_close();
}

/* References the caller names are known: a get, a pin of a small page, a pin of a huge one. */
static void named_references_are_known(void **state)
{
	struct ps_check_report report;
	struct page *get, *pin, *huge;
	u64 r, h;

	(void)state;
	scene_fault_setup("two-node");
	start("A", 0);
	r = map_filled(2, 1);
	h = map_huge_filled(1, 2);
	get = grab(r, FOLL_GET);
	pin = grab(r + pages(1), FOLL_PIN | FOLL_WRITE);
	huge = grab(h + pages(3), FOLL_PIN | FOLL_WRITE);
	expect_sound();
	assert_int_equal(check_machine(scene->machine, NULL, &report), 3);
	drop(get, FOLL_GET);
	drop(pin, FOLL_PIN);
	drop(huge, FOLL_PIN);
	scene_close();
}

static void without_memory_the_check_says_so(void **state)
{
	struct ps_check_report report;
	struct city city;
	u64 n;

	(void)state;
	scene_fault_setup("two-node");
	city_build(&city);
	as(scene->boot);
	for (n = 1;; n++) {
		int ret;

		ps_alloc_fail_nth(n);
		ret = check_machine(scene->machine, NULL, &report);
		if (ps_alloc_fail_nth(0))
			break;
		assert_int_equal(ret, -ENOMEM);
	}
	assert_true(n > 3);
	assert_int_equal(check_machine(scene->machine, NULL, &report), 0);
	scene_close();
}

static void invariants_have_texts(void **state)
{
	int i;

	(void)state;
	for (i = 1; i <= 19; i++)
		assert_non_null(ps_invariant_text(i));
	assert_null(ps_invariant_text(0));
	assert_null(ps_invariant_text(20));
	assert_null(ps_invariant_text(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_in_full_use_is_sound),
		cmocka_unit_test(a_tiny_machine_is_sound),
		cmocka_unit_test(violations_are_counted_beyond_those_described),
		cmocka_unit_test(named_references_are_known),
		cmocka_unit_test(without_memory_the_check_says_so),
		cmocka_unit_test(invariants_have_texts),
	};

	return cmocka_run_group_tests_name("check_machine", tests, NULL, NULL);
}
