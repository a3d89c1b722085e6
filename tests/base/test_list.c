/* SPDX-License-Identifier: MIT */
/*
 * Lists. An element is a letter; a list reads as a string, forwards and backwards, so that every test compares words:
 * "abc" is head <-> a <-> b <-> c <-> head.
 */
#include <string.h>

#include "cmocka_all.h"

#include <pagesim/list.h>

struct letter {
	char c;
	struct list_head list;
	struct hlist_node hash;
};

struct fixture {
	struct letter l[26];
	struct list_head one, two;
	struct hlist_head bucket;
};

static int setup(void **state)
{
	static struct fixture f;
	int i;

	for (i = 0; i < 26; i++) {
		f.l[i].c = (char)('a' + i);
		INIT_LIST_HEAD(&f.l[i].list);
		INIT_HLIST_NODE(&f.l[i].hash);
	}
	INIT_LIST_HEAD(&f.one);
	INIT_LIST_HEAD(&f.two);
	INIT_HLIST_HEAD(&f.bucket);
	*state = &f;
	return 0;
}

static struct list_head *node(struct fixture *f, char c)
{
	return &f->l[c - 'a'].list;
}

static void fill(struct fixture *f, struct list_head *head, const char *letters)
{
	for (; *letters; letters++)
		list_add_tail(node(f, *letters), head);
}

/* The list reads as this word in both directions, and its length agrees. */
#define assert_reads(head, word) check_reads((head), (word), __FILE__, __LINE__)

static void check_reads(struct list_head *head, const char *word, const char *file, int line)
{
	char forth[32] = { 0 }, back[32] = { 0 };
	struct letter *l;
	size_t n = 0;

	list_for_each_entry(l, head, list)
		forth[n++] = l->c;
	list_for_each_entry_reverse(l, head, list) back[--n] = l->c;
	_assert_string_equal(forth, word, file, line);
	_assert_string_equal(back, word, file, line);
	_assert_int_equal(list_count_nodes(head), strlen(word), file, line);
	_assert_int_equal(list_empty(head), !*word, file, line);
	_assert_int_equal(list_is_singular(head), strlen(word) == 1, file, line);
}

static void elements_stand_where_they_were_put(void **state)
{
	struct fixture *f = *state;

	assert_reads(&f->one, "");
	list_add(node(f, 'b'), &f->one);
	assert_reads(&f->one, "b");
	list_add(node(f, 'a'), &f->one);
	list_add_tail(node(f, 'c'), &f->one);
	assert_reads(&f->one, "abc");
	assert_int_equal(list_first_entry(&f->one, struct letter, list)->c, 'a');
	assert_int_equal(list_last_entry(&f->one, struct letter, list)->c, 'c');
	assert_true(list_is_first(node(f, 'a'), &f->one) && list_is_last(node(f, 'c'), &f->one));
	assert_false(list_is_first(node(f, 'b'), &f->one) || list_is_last(node(f, 'b'), &f->one));
	assert_null(list_first_entry_or_null(&f->two, struct letter, list));
	assert_null(list_last_entry_or_null(&f->two, struct letter, list));
	assert_ptr_equal(list_first_entry_or_null(&f->one, struct letter, list), &f->l[0]);
	assert_ptr_equal(list_last_entry_or_null(&f->one, struct letter, list), &f->l[2]);
	assert_int_equal(list_next_entry(&f->l[0], list)->c, 'b');
	assert_int_equal(list_prev_entry(&f->l[2], list)->c, 'b');
}

static void deleted_elements_are_gone_and_say_so(void **state)
{
	struct fixture *f = *state;

	fill(f, &f->one, "abcd");
	list_del(node(f, 'b'));
	assert_reads(&f->one, "acd");
	assert_ptr_equal(node(f, 'b')->next, LIST_POISON1);
	assert_ptr_equal(node(f, 'b')->prev, LIST_POISON2);
	assert_true(list_unlinked(node(f, 'b')));
	list_del_init(node(f, 'd'));
	assert_reads(&f->one, "ac");
	assert_true(list_empty(node(f, 'd')) && list_unlinked(node(f, 'd')));
	assert_false(list_unlinked(node(f, 'a')));
}

static void moving_splicing_and_cutting_keep_the_order(void **state)
{
	struct fixture *f = *state;
	LIST_HEAD(cut);

	fill(f, &f->one, "abcd");
	fill(f, &f->two, "xyz");
	list_move(node(f, 'c'), &f->two);
	list_move_tail(node(f, 'a'), &f->two);
	assert_reads(&f->one, "bd");
	assert_reads(&f->two, "cxyza");
	list_splice_init(&f->two, &f->one);
	assert_reads(&f->one, "cxyzabd");
	assert_reads(&f->two, "");
	list_splice_tail_init(&f->two, &f->one);
	assert_reads(&f->one, "cxyzabd");
	fill(f, &f->two, "mn");
	list_splice_tail_init(&f->two, &f->one);
	assert_reads(&f->one, "cxyzabdmn");
	list_bulk_move_tail(&f->two, node(f, 'y'), node(f, 'b'));
	assert_reads(&f->one, "cxdmn");
	assert_reads(&f->two, "yzab");
	list_bulk_move_tail(&f->one, node(f, 'c'), node(f, 'x'));
	assert_reads(&f->one, "dmncx");
	list_rotate_left(&f->one);
	assert_reads(&f->one, "mncxd");
	list_cut_position(&cut, &f->one, node(f, 'n'));
	assert_reads(&cut, "mn");
	assert_reads(&f->one, "cxd");
	list_cut_before(&cut, &f->one, node(f, 'd'));
	assert_reads(&cut, "cx");
	assert_reads(&f->one, "d");
	list_cut_before(&cut, &f->one, node(f, 'd'));
	assert_reads(&cut, "");
	list_cut_position(&cut, &f->one, &f->one);
	assert_reads(&cut, "");
	assert_reads(&f->one, "d");
	list_splice(&f->two, &f->one);
	assert_reads(&f->one, "yzabd");
}

static void replacing_and_swapping_keep_the_places(void **state)
{
	struct fixture *f = *state;

	fill(f, &f->one, "abc");
	list_replace(node(f, 'b'), node(f, 'x'));
	assert_reads(&f->one, "axc");
	list_replace_init(node(f, 'x'), node(f, 'y'));
	assert_reads(&f->one, "ayc");
	assert_true(list_empty(node(f, 'x')));
	list_swap(node(f, 'a'), node(f, 'c'));
	assert_reads(&f->one, "cya");
	list_swap(node(f, 'c'), node(f, 'y'));
	assert_reads(&f->one, "yca");
	list_swap(node(f, 'a'), node(f, 'c'));
	assert_reads(&f->one, "yac");
}

/* Expect every element visited once although each is deleted as it is visited. */
static void safe_iteration_survives_deletion(void **state)
{
	struct fixture *f = *state;
	struct letter *l, *next;
	char seen[8] = { 0 };
	size_t n = 0;

	fill(f, &f->one, "abc");
	list_for_each_entry_safe(l, next, &f->one, list) {
		seen[n++] = l->c;
		list_del(&l->list);
	}
	fill(f, &f->one, "def");
	list_for_each_entry_safe_reverse(l, next, &f->one, list)
	{
		seen[n++] = l->c;
		list_del(&l->list);
	}
	assert_string_equal(seen, "abcfed");
	assert_reads(&f->one, "");
	fill(f, &f->one, "pqr");
	l = list_first_entry(&f->one, struct letter, list);
	list_for_each_entry_continue(l, &f->one, list) n += l->c == 'q' || l->c == 'r';
	assert_int_equal(n, 8);
}

static void hash_lists_add_find_and_delete(void **state)
{
	struct fixture *f = *state;
	struct hlist_node *tmp;
	struct letter *l;
	char seen[8] = { 0 };
	size_t n = 0;

	assert_true(hlist_empty(&f->bucket));
	hlist_add_head(&f->l[1].hash, &f->bucket);
	hlist_add_head(&f->l[0].hash, &f->bucket);
	hlist_add_behind(&f->l[3].hash, &f->l[1].hash);
	hlist_add_before(&f->l[2].hash, &f->l[3].hash);
	hlist_for_each_entry(l, &f->bucket, hash)
		seen[n++] = l->c;
	assert_string_equal(seen, "abcd");
	hlist_del_init(&f->l[0].hash);
	assert_true(hlist_unhashed(&f->l[0].hash));
	hlist_del_init(&f->l[0].hash);
	hlist_for_each_entry_safe(l, tmp, &f->bucket, hash)
	{
		if (l->c != 'c')
			hlist_del(&l->hash);
	}
	assert_ptr_equal(f->bucket.first, &f->l[2].hash);
	assert_null(f->l[2].hash.next);
	hlist_del(&f->l[2].hash);
	assert_true(hlist_empty(&f->bucket));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(elements_stand_where_they_were_put, setup),
		cmocka_unit_test_setup(deleted_elements_are_gone_and_say_so, setup),
		cmocka_unit_test_setup(moving_splicing_and_cutting_keep_the_order, setup),
		cmocka_unit_test_setup(replacing_and_swapping_keep_the_places, setup),
		cmocka_unit_test_setup(safe_iteration_survives_deletion, setup),
		cmocka_unit_test_setup(hash_lists_add_find_and_delete, setup),
	};

	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
