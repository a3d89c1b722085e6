/* SPDX-License-Identifier: MIT */
/*
 * The interval tree against an array that answers every question by looking at everything. The array keeps its intervals
 * by (start, insertion), which is the order the tree promises.
 */
#include <stdlib.h>

#include "cmocka_all.h"

#include <pagesim/interval_tree.h>
#include <pagesim/rng.h>

#define MAX_NODES 200

struct interval {
	struct interval_tree_node node;
	u64 inserted;
};

struct model {
	struct interval_tree_root root;
	struct interval *in[MAX_NODES]; /* sorted */
	size_t n;
	u64 insertions;
};

static void model_insert(struct model *m, u64 start, u64 last)
{
	struct interval *iv = calloc(1, sizeof(*iv));
	size_t i;

	assert_non_null(iv);
	iv->node.start = start;
	iv->node.last = last;
	iv->inserted = m->insertions++;
	interval_tree_insert(&iv->node, &m->root);
	for (i = m->n++; i > 0 && m->in[i - 1]->node.start > start; i--)
		m->in[i] = m->in[i - 1];
	m->in[i] = iv;
}

static void model_remove(struct model *m, size_t i)
{
	interval_tree_remove(&m->in[i]->node, &m->root);
	free(m->in[i]);
	for (m->n--; i < m->n; i++)
		m->in[i] = m->in[i + 1];
}

static void model_empty(struct model *m)
{
	while (m->n)
		model_remove(m, m->n - 1);
	assert_true(interval_tree_empty(&m->root));
}

/* The tree gives exactly the overlaps of [start, last], in order. */
static void assert_same_answers(struct model *m, u64 start, u64 last)
{
	struct interval_tree_node *found = interval_tree_iter_first(&m->root, start, last);
	size_t i;

	for (i = 0; i < m->n; i++) {
		struct interval_tree_node *expected = &m->in[i]->node;

		if (expected->start > last || expected->last < start)
			continue;
		assert_ptr_equal(found, expected);
		found = interval_tree_iter_next(found, start, last);
	}
	assert_null(found);
}

static void an_empty_tree_answers_nothing(void **state)
{
	struct interval_tree_root root = INTERVAL_TREE_ROOT_INIT;

	assert_true(interval_tree_empty(&root));
	assert_null(interval_tree_iter_first(&root, 0, UINT64_MAX));
	assert_null(interval_tree_first(&root));
	assert_true(interval_tree_check(&root));
}

/*
 *   0    5    10   15
 *   [a-------]
 *        [b]            query [8, 8]: a and b; [11, 14]: nothing; [10, 15]: a and c
 *                  [c]
 */
static void both_ends_belong_to_an_interval(void **state)
{
	struct model m = { 0 };

	model_insert(&m, 0, 10);
	model_insert(&m, 5, 8);
	model_insert(&m, 15, 15);
	assert_same_answers(&m, 8, 8);
	assert_same_answers(&m, 11, 14);
	assert_null(interval_tree_iter_first(&m.root, 11, 14));
	assert_same_answers(&m, 10, 15);
	model_insert(&m, UINT64_MAX, UINT64_MAX);
	model_insert(&m, 0, UINT64_MAX);
	assert_same_answers(&m, UINT64_MAX, UINT64_MAX);
	assert_same_answers(&m, 0, UINT64_MAX);
	model_empty(&m);
}

static void equal_starts_come_in_the_order_of_their_insertion(void **state)
{
	struct model m = { 0 };
	struct interval_tree_node *n;
	u64 expected = 0;
	int i;

	for (i = 0; i < 50; i++)
		model_insert(&m, 7, 7 + (u64)(i * 37 % 11));
	interval_tree_foreach(n, &m.root, 7, 7)
		assert_int_equal(container_of(n, struct interval, node)->inserted, expected++);
	assert_int_equal(expected, 50);
	model_empty(&m);
}

/* Expect the same answers as by brute force after each of 4000 random insertions and removals, for 20 seeds. */
static void random_histories_give_the_answers_of_brute_force(void **state)
{
	u64 seed;

	for (seed = 0; seed < 20; seed++) {
		struct model m = { 0 };
		struct ps_rng rng;
		u64 space = seed % 2 ? 60 : 5000;
		int step;

		ps_rng_init(&rng, seed);
		for (step = 0; step < 4000; step++) {
			u64 start = ps_rng_below(&rng, space);

			if (m.n && (m.n == MAX_NODES || ps_rng_chance(&rng, 30000)))
				model_remove(&m, ps_rng_below(&rng, m.n));
			else
				model_insert(&m, start, start + ps_rng_below(&rng, 1 + space / 10));
			start = ps_rng_below(&rng, space);
			assert_same_answers(&m, start, start + ps_rng_below(&rng, 20));
			if (step % 64 == 0)
				assert_true(interval_tree_check(&m.root));
		}
		assert_same_answers(&m, 0, UINT64_MAX);
		model_empty(&m);
	}
}

static unsigned int depth(const struct interval_tree_node *n)
{
	return n ? 1 + ps_max(depth(n->left), depth(n->right)) : 0;
}

/* Ascending insertion makes a list of an unbalanced tree. Expect a depth of a few times log2(n). */
static void ascending_insertion_does_not_degenerate(void **state)
{
	enum { N = 100000 };
	struct interval_tree_node *nodes = calloc(N, sizeof(*nodes));
	struct interval_tree_root root = INTERVAL_TREE_ROOT_INIT;
	int i;

	assert_non_null(nodes);
	for (i = 0; i < N; i++) {
		nodes[i].start = nodes[i].last = (u64)i;
		interval_tree_insert(&nodes[i], &root);
	}
	assert_true(interval_tree_check(&root));
	assert_in_range(depth(root.node), 17, 60);
	for (i = 0; i < N; i++)
		interval_tree_remove(&nodes[i], &root);
	assert_true(interval_tree_empty(&root));
	free(nodes);
}

/* The check must be able to fail: each field it proves is broken once. */
static void the_check_sees_a_broken_node(void **state)
{
	struct model m = { 0 };
	struct interval_tree_node *n;
	int i;

	for (i = 0; i < 20; i++)
		model_insert(&m, (u64)i, (u64)i + 3);
	assert_true(interval_tree_check(&m.root));
	n = &m.in[10]->node;
	n->subtree_last++;
	assert_false(interval_tree_check(&m.root));
	n->subtree_last--;
	n->start -= 5;
	assert_false(interval_tree_check(&m.root));
	n->start += 5;
	m.root.node->priority = 0;
	assert_false(interval_tree_check(&m.root));
	m.root.node->priority = UINT64_MAX;
	assert_true(interval_tree_check(&m.root));
	model_empty(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_tree_answers_nothing),
		cmocka_unit_test(both_ends_belong_to_an_interval),
		cmocka_unit_test(equal_starts_come_in_the_order_of_their_insertion),
		cmocka_unit_test(random_histories_give_the_answers_of_brute_force),
		cmocka_unit_test(ascending_insertion_does_not_degenerate),
		cmocka_unit_test(the_check_sees_a_broken_node),
	};

	return cmocka_run_group_tests_name("interval_tree", tests, NULL, NULL);
}
