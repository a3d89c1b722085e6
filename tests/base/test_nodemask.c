/* SPDX-License-Identifier: MIT */
/* Sets of nodes, with the first and the last node where off-by-ones live. */
#include "cmocka_all.h"

#include <pagesim/nodemask.h>

static nodemask_t mask_of(const nid_t *nodes, size_t n)
{
	nodemask_t m = NODE_MASK_NONE;

	while (n--)
		node_set(nodes[n], m);
	return m;
}
#define MASK(...) mask_of((const nid_t[]){ __VA_ARGS__ }, ARRAY_SIZE(((const nid_t[]){ __VA_ARGS__ })))

static void nodes_come_and_go(void **state)
{
	nodemask_t m = NODE_MASK_NONE;

	assert_true(nodes_empty(m));
	assert_int_equal(first_node(m), MAX_NUMNODES);
	node_set(0, m);
	node_set(63, m);
	assert_true(node_isset(0, m) && node_isset(63, m) && !node_isset(1, m));
	assert_int_equal(nodes_weight(m), 2);
	assert_true(node_test_and_set(63, m));
	assert_false(node_test_and_set(5, m));
	assert_true(node_isset(5, m));
	node_clear(0, m);
	assert_int_equal(first_node(m), 5);
	nodes_setall(m);
	assert_true(nodes_full(m) && nodes_equal(m, NODE_MASK_ALL));
	nodes_clear(m);
	assert_true(nodes_empty(m));
	assert_true(nodes_equal(nodemask_of_node(63), MASK(63)));
}

static void sets_combine(void **state)
{
	nodemask_t a = MASK(0, 1, 2), b = MASK(2, 3, 63), r;

	nodes_and(r, a, b);
	assert_true(nodes_equal(r, MASK(2)));
	nodes_or(r, a, b);
	assert_true(nodes_equal(r, MASK(0, 1, 2, 3, 63)));
	nodes_xor(r, a, b);
	assert_true(nodes_equal(r, MASK(0, 1, 3, 63)));
	nodes_andnot(r, a, b);
	assert_true(nodes_equal(r, MASK(0, 1)));
	assert_true(nodes_subset(r, a) && !nodes_subset(b, a));
	assert_true(nodes_intersects(a, b) && !nodes_intersects(r, b));
	nodes_complement(r, a);
	assert_int_equal(nodes_weight(r), 61);
}

static void iteration_visits_each_node_once_in_order(void **state)
{
	nodemask_t m = MASK(0, 7, 8, 63);
	nid_t nid, seen[8];
	int n = 0;

	for_each_node_mask(nid, m) seen[n++] = nid;
	assert_int_equal(n, 4);
	assert_true(seen[0] == 0 && seen[1] == 7 && seen[2] == 8 && seen[3] == 63);
	assert_int_equal(next_node(63, m), MAX_NUMNODES);
}

static void the_next_node_in_a_set_wraps_around(void **state)
{
	nodemask_t m = MASK(3, 9, 63);

	assert_int_equal(next_node_in(3, m), 9);
	assert_int_equal(next_node_in(9, m), 63);
	assert_int_equal(next_node_in(63, m), 3);
	assert_int_equal(next_node_in(4, m), 9);
	assert_int_equal(next_node_in(NUMA_NO_NODE, m), 3);
	assert_int_equal(next_node_in(0, NODE_MASK_NONE), MAX_NUMNODES);
	assert_int_equal(next_node_in(3, MASK(3)), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_come_and_go),
		cmocka_unit_test(sets_combine),
		cmocka_unit_test(iteration_visits_each_node_once_in_order),
		cmocka_unit_test(the_next_node_in_a_set_wraps_around),
	};

	return cmocka_run_group_tests_name("nodemask", tests, NULL, NULL);
}
