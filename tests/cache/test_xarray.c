/* SPDX-License-Identifier: MIT */
/*
 * The xarray against a model that cannot be wrong: a list of entries, each with its first index, order, marks. Random
 * operations run on both; after each the array is validated and every index of a window is compared. Then what a model
 * without time cannot say: what readers see while a writer works (under the shuffler), and what is left when memory
 * ends.
 *
 * A failing random case prints its seed and step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pagesim/alloc.h>
#include <pagesim/rcu.h>
#include <pagesim/rng.h>
#include <pagesim/runtime.h>
#include <pagesim/sched_point.h>
#include <pagesim/task.h>
#include <pagesim/xarray.h>

#define WINDOW   512u /* indices of the model */
#define NO_ENTRY ((unsigned int)-1)

static struct ps_runtime *rt;
static struct task_struct *task;

/* A pointer that names (index, n) and is never followed. */
static void *fake(unsigned long n)
{
	return (void *)(0x10000000UL + n * 8);
}

/* ---- the model ---- */

struct model_entry {
	unsigned long first;
	unsigned int order;
	unsigned int marks;
	void *entry; /* NULL: a reservation */
};

struct model {
	struct model_entry entries[WINDOW];
	unsigned int at[WINDOW]; /* which entry covers an index */
	bool used[WINDOW];
};

static void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	for (unsigned int i = 0; i < WINDOW; i++)
		m->at[i] = NO_ENTRY;
}

static struct model_entry *model_find(struct model *m, unsigned long index)
{
	return index < WINDOW && m->at[index] != NO_ENTRY ? &m->entries[m->at[index]] : NULL;
}

static void model_remove(struct model *m, unsigned long index)
{
	struct model_entry *e = model_find(m, index);
	unsigned int slot;

	if (!e)
		return;
	slot = m->at[index];
	for (unsigned long i = e->first; i < e->first + (1UL << e->order); i++)
		m->at[i] = NO_ENTRY;
	m->used[slot] = false;
}

static struct model_entry *model_add(struct model *m, unsigned long first, unsigned int order, void *entry)
{
	unsigned int slot = 0;

	while (m->used[slot])
		slot++;
	m->used[slot] = true;
	m->entries[slot] = (struct model_entry){ .first = first, .order = order, .entry = entry };
	for (unsigned long i = first; i < first + (1UL << order); i++)
		m->at[i] = slot;
	return &m->entries[slot];
}

/*
 * Stores over an aligned span: part of a wider entry means all of it, otherwise what is inside goes and leaves its
 * marks.
 */
static void model_store(struct model *m, unsigned long index, unsigned int order, void *entry)
{
	struct model_entry *e = model_find(m, index);
	unsigned int marks = 0;

	if (e && e->order > order) {
		e->entry = entry;
		return;
	}
	for (unsigned long i = index; i < index + (1UL << order); i++) {
		e = model_find(m, i);
		if (e)
			marks |= e->marks;
		model_remove(m, i);
	}
	model_add(m, index, order, entry)->marks = marks;
}

static void model_erase(struct model *m, unsigned long index, unsigned int order)
{
	for (unsigned long i = index; i < index + (1UL << order); i++)
		model_remove(m, i);
}

static void model_split(struct model *m, unsigned long index, unsigned int order)
{
	struct model_entry old = *model_find(m, index);

	model_remove(m, index);
	for (unsigned long i = old.first; i < old.first + (1UL << old.order); i += 1UL << order)
		model_add(m, i, order, old.entry)->marks = old.marks;
}

/* First index at or above @index that a walk with @filter stops at; WINDOW: none. */
static unsigned long model_next(struct model *m, unsigned long index, xa_mark_t filter)
{
	for (; index < WINDOW; index++) {
		struct model_entry *e = model_find(m, index);

		if (e && e->entry && (filter == XA_PRESENT || (e->marks >> filter & 1)))
			return index;
	}
	return WINDOW;
}

/* ---- comparing ---- */

static u64 case_seed;
static unsigned int case_step;

#define check(cond)                                                                                         \
	do {                                                                                                \
		if (!(cond))                                                                                \
			fail_msg("seed %llu step %u: %s", (unsigned long long)case_seed, case_step, #cond); \
	} while (0)

static void assert_valid(struct xarray *xa)
{
	char why[200] = "";

	if (!xa_validate(xa, why, sizeof(why)))
		fail_msg("seed %llu step %u: %s", (unsigned long long)case_seed, case_step, why);
}

static void compare(struct xarray *xa, struct model *m, unsigned long base)
{
	unsigned long index, expect;
	unsigned int all_marks = 0;
	void *entry;

	assert_valid(xa);
	for (unsigned long i = 0; i < WINDOW; i++) {
		struct model_entry *e = model_find(m, i);

		check(xa_load(xa, base + i) == (e ? e->entry : NULL));
		check(xa_get_order(xa, base + i) == (e ? (int)e->order : 0));
		for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++)
			check(xa_get_mark(xa, base + i, mark) == (e && (e->marks >> mark & 1)));
		all_marks |= e ? e->marks : 0;
	}
	for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++)
		check(xa_marked(xa, mark) == (all_marks >> mark & 1));

	/* A walk from the start of the array sees each entry once, at its first index. */
	expect = model_next(m, 0, XA_PRESENT);
	xa_for_each(xa, index, entry) {
		struct model_entry *e;

		check(expect < WINDOW && index == base + expect);
		e = model_find(m, expect);
		check(entry == e->entry && e->first == expect);
		expect = model_next(m, e->first + (1UL << e->order), XA_PRESENT);
	}
	check(expect == WINDOW);
	for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++) {
		expect = model_next(m, 0, mark);
		xa_for_each_marked(xa, index, entry, mark)
		{
			struct model_entry *e;

			check(expect < WINDOW && index == base + expect);
			e = model_find(m, expect);
			check(entry == e->entry);
			expect = model_next(m, e->first + (1UL << e->order), mark);
		}
		check(expect == WINDOW);
	}
	for (unsigned int i = 0; i < WINDOW; i++) {
		if (m->used[i])
			return;
	}
	check(xa_empty(xa));
}

/* ---- random operations ---- */

static void random_op(struct xarray *xa, struct model *m, unsigned long base, struct ps_rng *rng)
{
	unsigned int max_order = 9, order = (unsigned int)ps_rng_below(rng, max_order + 1), op;
	unsigned long index = ps_rng_below(rng, WINDOW);
	xa_mark_t mark = (xa_mark_t)ps_rng_below(rng, XA_MAX_MARKS);
	struct model_entry *e = model_find(m, index);
	unsigned long n = ps_rng_below(rng, 1000);
	void *entry = ps_rng_below(rng, 3) ? fake(n) : xa_mk_value(n), *old = e ? e->entry : NULL;
	struct xa_state xas = xa_state_at(xa, base + index, 0);

	/* High orders rarely, or there is never anything else. */
	if (order > 4 && ps_rng_below(rng, 4))
		order -= 4;
	op = (unsigned int)ps_rng_below(rng, 16);
	switch (op) {
	case 0:
	case 1:
	case 2:
		check(xa_store(xa, base + index, entry, 0) == old);
		model_store(m, index, 0, entry);
		break;
	case 3:
	case 4:
		xas_set_order(&xas, base + index, order);
		do {
			xas_lock(&xas);
			xas_store(&xas, entry);
			xas_unlock(&xas);
		} while (xas_nomem(&xas, 0));
		check(!xas_error(&xas));
		model_store(m, index >> order << order, order, entry);
		break;
	case 5:
	case 6:
		check(xa_erase(xa, base + index) == old);
		model_erase(m, index, 0);
		break;
	case 7:
		xas_set_order(&xas, base + index, order);
		xas_lock(&xas);
		xas_store(&xas, NULL);
		xas_unlock(&xas);
		model_erase(m, index >> order << order, order);
		break;
	case 8:
	case 9:
		xa_set_mark(xa, base + index, mark);
		if (e)
			e->marks |= 1U << mark;
		break;
	case 10:
		xa_clear_mark(xa, base + index, mark);
		if (e)
			e->marks &= ~(1U << mark);
		break;
	case 11: {
		int err = xa_insert(xa, base + index, entry, 0);

		check(err == (e ? -EBUSY : 0));
		if (!e)
			model_add(m, index, 0, entry);
		break;
	}
	case 12:
		/* Against the right value and against a wrong one. */
		if (e && !e->entry)
			break;
		if (ps_rng_below(rng, 2)) {
			check(xa_cmpxchg(xa, base + index, fake(5000), entry, 0) == old);
		} else {
			check(xa_cmpxchg(xa, base + index, old, entry, 0) == old);
			model_store(m, index, 0, entry);
		}
		break;
	case 13:
		if (ps_rng_below(rng, 2)) {
			check(xa_reserve(xa, base + index, 0) == 0);
			if (!e)
				model_add(m, index, 0, NULL);
		} else {
			xa_release(xa, base + index);
			if (e && !e->entry)
				model_remove(m, index);
		}
		break;
	case 14:
		if (!e || !e->order || !e->entry)
			break;
		order = (unsigned int)ps_rng_below(rng, e->order + 1);
		xas_set_order(&xas, base + index, order);
		xas_split_alloc(&xas, e->entry, e->order, 0);
		check(!xas_error(&xas));
		xas_lock(&xas);
		xas_split(&xas, e->entry, e->order);
		xas_unlock(&xas);
		xas_destroy(&xas);
		model_split(m, index, order);
		break;
	case 15: {
		unsigned long last = index + ps_rng_below(rng, WINDOW - index), i = index, expect;

		/* A walk from the middle, paused at random, to a limit. */
		expect = model_next(m, index, XA_PRESENT);
		xas_lock(&xas);
		for (entry = xas_find(&xas, base + last); entry; entry = xas_find(&xas, base + last)) {
			if (xa_is_zero(entry))
				continue;
			i = xas.xa_index - base;
			check(i == expect && i <= last);
			e = model_find(m, i);
			check(e->entry == entry);
			expect = model_next(m, e->first + (1UL << e->order), XA_PRESENT);
			if (!ps_rng_below(rng, 3)) {
				xas_pause(&xas);
				xas_unlock(&xas);
				xas_lock(&xas);
			}
		}
		xas_unlock(&xas);
		check(expect > last);

		/* One by one, both ways. */
		xas_set(&xas, base + index);
		rcu_read_lock();
		for (i = index; i < WINDOW && i < index + 80; i++) {
			e = model_find(m, i);
			entry = xas_next(&xas);
			check(xas.xa_index == base + i && (xa_is_zero(entry) ? NULL : entry) == (e ? e->entry : NULL));
		}
		xas_set(&xas, base + index);
		for (i = index; i + 80 > index; i--) {
			e = model_find(m, i);
			entry = xas_prev(&xas);
			check(xas.xa_index == base + i && (xa_is_zero(entry) ? NULL : entry) == (e ? e->entry : NULL));
			if (!i)
				break;
		}
		rcu_read_unlock();
		break;
	}
	}
}

static void run_random(unsigned int chunk, unsigned long base, u64 seed, unsigned int steps)
{
	static struct model m;
	struct ps_rng rng;
	struct xarray xa;

	ps_rng_init(&rng, seed);
	case_seed = seed;
	xa_init_chunk(&xa, chunk);
	model_init(&m);
	for (case_step = 0; case_step < steps; case_step++) {
		random_op(&xa, &m, base, &rng);
		if (case_step % 16 == 0 || case_step + 1 == steps)
			compare(&xa, &m, base);
		else
			assert_valid(&xa);
	}
	xa_destroy(&xa);
	assert_int_equal(xa.xa_nodes, 0);
	rcu_barrier();
}

/*
 * Expect: on every node size, at both ends of the index space and across a boundary of high levels, the array and
 * the model never differ.
 */
static void random_operations_agree_with_the_model(void **state)
{
	static const unsigned long bases[] = { 0, -(unsigned long)WINDOW, 1UL << 30, (1UL << 62) - (1UL << 9) };

	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		for (unsigned int b = 0; b < ARRAY_SIZE(bases); b++) {
			for (u64 seed = 1; seed <= 4; seed++)
				run_random(chunk, bases[b], seed * 100 + chunk * 10 + b, 700);
		}
	}
}

/* ---- rules of single operations ---- */

/*
 *	slot	0 1 2 3		xa_load at 4..7 (chunk 2, order 2 at 4)
 *	root	. E . .		Expect: E at all four, NULL around them, order 2; erased by any of its indices
 */
static void a_multi_index_entry_is_one_entry(void **state)
{
	struct xarray xa;

	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		for (unsigned int order = 0; order <= 12; order++) {
			const unsigned long first = 1UL << order, last = 2 * first - 1;
			struct xa_state xas;

			xa_init_chunk(&xa, chunk);
			xas = xa_state_at(&xa, first, order);
			do {
				xas_lock(&xas);
				xas_store(&xas, fake(1));
				xas_unlock(&xas);
			} while (xas_nomem(&xas, 0));
			assert_ptr_equal(xa_load(&xa, first), fake(1));
			assert_ptr_equal(xa_load(&xa, last), fake(1));
			assert_ptr_equal(xa_load(&xa, (first + last) / 2), fake(1));
			assert_null(xa_load(&xa, first - 1));
			assert_null(xa_load(&xa, last + 1));
			assert_int_equal(xa_get_order(&xa, last), order);
			xa_set_mark(&xa, last, XA_MARK_1);
			assert_true(xa_get_mark(&xa, first, XA_MARK_1));
			assert_ptr_equal(xa_erase(&xa, (first + last) / 2), fake(1));
			assert_true(xa_empty(&xa));
			assert_false(xa_marked(&xa, XA_MARK_1));
			assert_int_equal(xa.xa_nodes, 0);
		}
	}
}

static void the_highest_order_covers_half_of_everything(void **state)
{
	struct xarray xa;
	void *ret;

	(void)state;
	xa_init(&xa);
	ret = xa_store_range(&xa, 0, ULONG_MAX, fake(1), 0);
	assert_int_equal(xa_err(ret), 0);
	assert_int_equal(xa_get_order(&xa, 0), 63);
	assert_ptr_equal(xa_load(&xa, ULONG_MAX), fake(1));
	assert_valid(&xa);
	ret = xa_store_range(&xa, 5, 1000, fake(2), 0);
	assert_int_equal(xa_err(ret), 0);
	/* Part of a wider entry: all of that was meant. */
	assert_ptr_equal(xa_load(&xa, 0), fake(2));
	assert_ptr_equal(xa_load(&xa, 1UL << 63), fake(1));
	xa_store_range(&xa, 0, ULONG_MAX, NULL, 0);
	assert_true(xa_empty(&xa));
}

static void a_range_is_stored_exactly(void **state)
{
	static const unsigned long cases[][2] = { { 0, 0 },   { 0, 63 },     { 1, 1 },      { 5, 1000 },
						  { 63, 64 }, { 100, 4195 }, { 4096, 8191 } };

	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
			const unsigned long first = cases[c][0], last = cases[c][1];
			struct xarray xa;

			xa_init_chunk(&xa, chunk);
			assert_int_equal(xa_err(xa_store_range(&xa, first, last, fake(c), 0)), 0);
			assert_valid(&xa);
			for (unsigned long i = 0; i <= last + 10; i++)
				assert_ptr_equal(xa_load(&xa, i), i >= first && i <= last ? fake(c) : NULL);
			assert_int_equal(xa_err(xa_store_range(&xa, first, last, NULL, 0)), 0);
			assert_true(xa_empty(&xa));
		}
	}
}

static void internal_entries_are_refused(void **state)
{
	struct xarray xa;

	(void)state;
	xa_init(&xa);
	assert_int_equal(xa_err(xa_store(&xa, 1, XA_RETRY_ENTRY, 0)), -EINVAL);
	assert_int_equal(xa_err(xa_store_range(&xa, 1, 2, xa_mk_internal(3), 0)), -EINVAL);
	assert_int_equal(xa_err(xa_store_range(&xa, 2, 1, fake(1), 0)), -EINVAL);
	assert_int_equal(xa_insert(&xa, 1, xa_mk_internal(3), 0), -EINVAL);
	assert_true(xa_empty(&xa));
}

static void values_keep_63_bits(void **state)
{
	static const unsigned long values[] = { 0, 1, 0x7fffffff, ~0UL >> 1 };
	struct xarray xa;

	(void)state;
	xa_init(&xa);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		void *entry;

		xa_store(&xa, i, xa_mk_value(values[i]), 0);
		entry = xa_load(&xa, i);
		assert_true(xa_is_value(entry));
		assert_int_equal(xa_to_value(entry), values[i]);
	}
	assert_valid(&xa);
	xa_destroy(&xa);
}

/* Expect: a reservation reads as nothing, holds its slot, and a store into it asks for no memory. */
static void a_reservation_needs_no_memory_later(void **state)
{
	struct ps_alloc_counts before, after;
	struct xarray xa;

	(void)state;
	xa_init_chunk(&xa, 2);
	assert_int_equal(xa_reserve(&xa, 1000, 0), 0);
	assert_null(xa_load(&xa, 1000));
	assert_int_equal(xa_insert(&xa, 1000, fake(1), 0), -EBUSY);
	ps_alloc_counts(&before);
	assert_null(xa_store(&xa, 1000, fake(1), 0));
	ps_alloc_counts(&after);
	assert_int_equal(before.requests, after.requests);
	xa_release(&xa, 1000);
	assert_ptr_equal(xa_load(&xa, 1000), fake(1));
	xa_erase(&xa, 1000);
	assert_int_equal(xa_reserve(&xa, 1000, 0), 0);
	xa_release(&xa, 1000);
	assert_true(xa_empty(&xa));
}

static void conflicts_are_found_in_order(void **state)
{
	static const unsigned long at[] = { 64, 65, 100, 127 };
	struct xa_state xas;
	struct xarray xa;
	void *entry;
	size_t n = 0;

	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		xa_init_chunk(&xa, chunk);
		xa_store(&xa, 63, fake(63), 0);
		xa_store(&xa, 128, fake(128), 0);
		for (size_t i = 0; i < ARRAY_SIZE(at); i++)
			xa_store(&xa, at[i], fake(at[i]), 0);
		xas = xa_state_at(&xa, 64, 6);
		do {
			xas_lock(&xas);
			n = 0;
			xas_for_each_conflict(&xas, entry)
			{
				assert_true(n < ARRAY_SIZE(at));
				assert_ptr_equal(entry, fake(at[n++]));
			}
			assert_int_equal(n, ARRAY_SIZE(at));
			xas_store(&xas, fake(1));
			xas_unlock(&xas);
		} while (xas_nomem(&xas, 0));
		assert_valid(&xa);
		assert_int_equal(xa_get_order(&xa, 100), 6);
		assert_ptr_equal(xa_load(&xa, 63), fake(63));
		assert_ptr_equal(xa_load(&xa, 128), fake(128));
		/* A wider entry is one conflict, found from inside. */
		xas = xa_state_at(&xa, 96, 2);
		xas_lock(&xas);
		assert_ptr_equal(xas_find_conflict(&xas), fake(1));
		assert_null(xas_find_conflict(&xas));
		xas_unlock(&xas);
		xa_destroy(&xa);
	}
}

static void create_range_makes_single_slots(void **state)
{
	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		struct ps_alloc_counts before, after;
		struct xa_state xas;
		struct xarray xa;

		xa_init_chunk(&xa, chunk);
		xas = xa_state_at(&xa, 512, 9);
		do {
			xas_lock(&xas);
			xas_create_range(&xas);
			if (!xas_error(&xas)) {
				ps_alloc_counts(&before);
				for (unsigned long i = 512; i < 1024; i++)
					__xa_store(&xa, i, fake(i), 0);
				ps_alloc_counts(&after);
			}
			xas_unlock(&xas);
		} while (xas_nomem(&xas, 0));
		assert_int_equal(before.requests, after.requests);
		assert_valid(&xa);
		for (unsigned long i = 512; i < 1024; i++)
			assert_ptr_equal(xa_load(&xa, i), fake(i));
		xa_destroy(&xa);
	}
}

static void extract_copies_what_is_marked(void **state)
{
	struct xarray xa;
	void *got[4];

	(void)state;
	xa_init_chunk(&xa, 2);
	for (unsigned long i = 0; i < 40; i++) {
		xa_store(&xa, i, fake(i), 0);
		if (i % 3 == 0)
			xa_set_mark(&xa, i, XA_MARK_2);
	}
	assert_int_equal(xa_extract(&xa, got, 4, 14, 4, XA_MARK_2), 3);
	assert_ptr_equal(got[0], fake(6));
	assert_ptr_equal(got[2], fake(12));
	assert_int_equal(xa_extract(&xa, got, 4, 14, 2, XA_PRESENT), 2);
	assert_ptr_equal(got[1], fake(5));
	xa_destroy(&xa);
}

/* ---- the validator can fail ---- */

/* Expect: each planted corruption is named by its rule. */
static void the_validator_sees_planted_corruption(void **state)
{
	static const char *const rule[] = {
		"X2: count", "X2: nr_values", "X4", "X3", "X4", "X1", "X2: number of nodes"
	};
	char why[200];

	(void)state;
	for (size_t plant = 0; plant < ARRAY_SIZE(rule); plant++) {
		struct xa_state xas;
		struct xa_node *leaf;
		struct xarray xa;

		xa_init_chunk(&xa, 3);
		for (unsigned long i = 0; i < 20; i++)
			xa_store(&xa, i, fake(i), 0);
		xas = xa_state_at(&xa, 16, 2);
		xas_lock(&xas);
		xas_store(&xas, fake(100));
		xas_unlock(&xas);
		assert_false(xas_nomem(&xas, 0));
		xas_set(&xas, 16);
		xas_load(&xas);
		leaf = xas.xa_node;
		assert_true(xa_validate(&xa, why, sizeof(why)));
		switch (plant) {
		case 0:
			leaf->count++;
			break;
		case 1:
			leaf->nr_values++;
			break;
		case 2:
			leaf->marks[1] |= 1;
			break;
		case 3:
			leaf->slots[1] = fake(7);
			break;
		case 4:
			xa.xa_marks = 1;
			break;
		case 5:
			leaf->offset++;
			break;
		case 6:
			xa.xa_nodes++;
			break;
		}
		assert_false(xa_validate(&xa, why, sizeof(why)));
		if (!strstr(why, rule[plant]))
			fail_msg("expected %s, got: %s", rule[plant], why);
		switch (plant) {
		case 3:
			leaf->slots[1] = xa_mk_internal(0);
			break;
		case 6:
			xa.xa_nodes--;
			break;
		}
		xa_destroy(&xa);
		rcu_barrier();
	}
}

/* ---- no memory ---- */

/* Expect: whichever allocation fails, the store reports it and nothing has changed; asked again it succeeds. */
static void a_store_without_memory_changes_nothing(void **state)
{
	static const struct {
		unsigned long index;
		unsigned int order;
	} stores[] = { { 0, 0 },  { 70, 0 }, { 0, 0 },   { 4096, 12 },    { 1UL << 40, 0 },
		       { 64, 6 }, { 0, 9 },  { 513, 0 }, { ULONG_MAX, 0 } };

	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		for (u64 n = 1;; n++) {
			bool unused, failed = false;
			struct xarray xa;

			xa_init_chunk(&xa, chunk);
			ps_alloc_fail_nth(n);
			for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
				struct xa_state xas = xa_state_at(&xa, stores[i].index, stores[i].order);
				unsigned int nodes = xa.xa_nodes;
				void *before = xa.xa_head;

				xas_lock(&xas);
				xas_store(&xas, fake(i + 1));
				xas_unlock(&xas);
				if (xas_error(&xas)) {
					assert_int_equal(xas_error(&xas), -ENOMEM);
					assert_int_equal(xa.xa_nodes, nodes);
					assert_ptr_equal(xa.xa_head, before);
					assert_valid(&xa);
					failed = true;
				}
				while (xas_nomem(&xas, 0)) {
					xas_lock(&xas);
					xas_store(&xas, fake(i + 1));
					xas_unlock(&xas);
				}
				assert_int_equal(xas_error(&xas), 0);
				assert_ptr_equal(xa_load(&xa, stores[i].index), fake(i + 1));
				assert_valid(&xa);
			}
			unused = ps_alloc_fail_nth(0);
			xa_destroy(&xa);
			rcu_barrier();
			assert_true(failed != unused);
			if (unused)
				break;
		}
	}
}

static void a_split_without_memory_changes_nothing(void **state)
{
	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		for (u64 n = 1;; n++) {
			struct xa_state xas;
			struct xarray xa;
			bool unused;

			xa_init_chunk(&xa, chunk);
			xas = xa_state_at(&xa, 512, 9);
			do {
				xas_lock(&xas);
				xas_store(&xas, fake(1));
				xas_unlock(&xas);
			} while (xas_nomem(&xas, 0));
			xas_set_order(&xas, 512, 0);
			ps_alloc_fail_nth(n);
			xas_split_alloc(&xas, fake(1), 9, 0);
			unused = ps_alloc_fail_nth(0);
			assert_int_equal(xas_error(&xas), unused ? 0 : -ENOMEM);
			assert_int_equal(xa_get_order(&xa, 600), 9);
			xas_destroy(&xas);
			xa_destroy(&xa);
			rcu_barrier();
			if (unused)
				break;
		}
	}
}

/* ---- readers beside a writer ---- */

/*
 * The writer makes and splits entries over [0, 64): whole (order 6), pieces (order 3), singles; index 64 never changes.
 * Each entry names what it covers. Expect: a reader at i who looks twice gets an entry that covers i; who looks once
 * never gets NULL, because the writer only ever replaces; and index 64 is there always.
 */
#define SPAN 64u

static struct xarray shared;
static bool writer_done;
static unsigned long reads, changes;

static void *covering(unsigned long first, unsigned int order)
{
	return xa_mk_value(first << 8 | order);
}

static void check_covers(const void *entry, unsigned long index)
{
	unsigned long v;

	if (!entry)
		fail_msg("nothing at %lu", index);
	if (!xa_is_value(entry))
		fail_msg("entry %p at %lu", entry, index);
	v = xa_to_value(entry);
	if (index < v >> 8 || index >= (v >> 8) + (1UL << (v & 0xff)))
		fail_msg("entry of %lu order %lu found at %lu", v >> 8, v & 0xff, index);
}

static void store_order(unsigned long index, unsigned int order)
{
	struct xa_state xas = xa_state_at(&shared, index, order);

	do {
		xas_lock(&xas);
		xas_store(&xas, covering(index, order));
		xas_unlock(&xas);
	} while (xas_nomem(&xas, 0));
}

static void split_to(unsigned long index, unsigned int from, unsigned int to)
{
	struct xa_state xas = xa_state_at(&shared, index, to);
	void *old = xa_load(&shared, index);

	xas_split_alloc(&xas, old, from, 0);
	xas_lock(&xas);
	xas_split(&xas, old, from);
	/* As after the split of a page: every piece gets its own entry. */
	for (unsigned long i = index; i < index + (1UL << from); i += 1UL << to)
		__xa_store(&shared, i, covering(i, to), 0);
	xas_unlock(&xas);
	xas_destroy(&xas);
}

static void split_writer(void *arg)
{
	unsigned int rounds = *(unsigned int *)arg;

	for (unsigned int round = 0; round < rounds; round++) {
		store_order(0, 6);
		if (round % 3 == 0) {
			split_to(0, 6, 0);
		} else {
			split_to(0, 6, 3);
			for (unsigned long i = 0; i < SPAN; i += 8)
				split_to(i, 3, round % 2 ? 0 : 1);
		}
		changes++;
		cond_resched();
	}
	writer_done = true;
}

/*
 * The lookup of a page cache reader: a sibling may have led to the canonical slot of an entry that was split
 * meanwhile, so what was found counts only if a second look at the own slot finds the same.
 */
static void *look_twice(unsigned long index)
{
	struct xa_state xas = xa_state_at(&shared, index, 0);
	void *entry;

	rcu_read_lock();
	do {
		xas_reset(&xas);
		entry = xas_load(&xas);
	} while (xas_retry(&xas, entry) || entry != xas_reload(&xas));
	rcu_read_unlock();
	return entry;
}

static void index_reader(void *arg)
{
	unsigned long seed = (unsigned long)arg;
	struct ps_rng rng;

	ps_rng_init(&rng, seed);
	while (!writer_done) {
		unsigned long i = ps_rng_below(&rng, SPAN);

		check_covers(look_twice(i), i);
		check_covers(look_twice(SPAN), SPAN);
		if (!xa_load(&shared, i))
			fail_msg("nothing at %lu", i);
		reads++;
		cpu_relax();
	}
}

static void walk_reader(void *arg)
{
	(void)arg;
	while (!writer_done) {
		struct xa_state xas = xa_state_at(&shared, 0, 0);
		unsigned long seen = 0;
		void *entry;

		rcu_read_lock();
		xas_for_each(&xas, entry, ULONG_MAX) {
			if (xas_retry(&xas, entry))
				continue;
			if (entry != xas_reload(&xas)) {
				xas_reset(&xas);
				continue;
			}
			check_covers(entry, xas.xa_index);
			seen++;
		}
		rcu_read_unlock();
		if (!seen)
			fail_msg("an empty walk");
		reads++;
		cpu_relax();
	}
}

static void readers_see_an_entry_that_covers_their_index(void **state)
{
	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		for (u64 seed = 1; seed <= 6; seed++) {
			struct ps_runtime_settings settings = { .seed = seed, .shuffle = 16384 };
			unsigned int rounds = 60;
			struct ps_runtime *stress = ps_runtime_new(&settings);
			struct task_struct *main_task = ps_task_new(stress, "main", NULL, NULL);

			ps_task_enter(main_task);
			xa_init_chunk(&shared, chunk);
			store_order(0, 6);
			xa_store(&shared, SPAN, covering(SPAN, 0), 0);
			ps_task_leave();
			writer_done = false;
			reads = changes = 0;
			ps_task_new(stress, "writer", split_writer, &rounds);
			ps_task_new(stress, "reader", index_reader, (void *)1UL);
			ps_task_new(stress, "reader", index_reader, (void *)2UL);
			ps_task_new(stress, "walker", walk_reader, NULL);
			ps_runtime_run(stress, UINT64_MAX);
			assert_int_equal(changes, rounds);
			assert_true(reads > rounds);
			ps_task_enter(main_task);
			assert_valid(&shared);
			xa_destroy(&shared);
			rcu_barrier();
			ps_task_leave();
			ps_runtime_free(stress);
		}
	}
}

/*
 * Several writers add and erase their own indices of one small array, whose tree grows and shrinks all the time, and
 * mark them. Expect: each finds his own entries as he left them, and at the end the array holds exactly what the
 * writers say.
 */
#define WRITERS 3u
#define OWN     40u

static bool mine_stored[WRITERS][OWN], mine_marked[WRITERS][OWN];

static unsigned long own_index(unsigned long writer, unsigned int i)
{
	return (unsigned long)i * i * WRITERS + writer;
}

static void own_writer(void *arg)
{
	const unsigned long who = (unsigned long)arg;
	struct ps_rng rng;

	ps_rng_init(&rng, who + 77);
	for (unsigned int n = 0; n < 800; n++) {
		unsigned int i = (unsigned int)ps_rng_below(&rng, OWN);
		unsigned long index = own_index(who, i);
		void *expect = mine_stored[who][i] ? fake(index) : NULL;

		assert_ptr_equal(xa_load(&shared, index), expect);
		assert_int_equal(xa_get_mark(&shared, index, XA_MARK_0), mine_marked[who][i]);
		switch (ps_rng_below(&rng, 4)) {
		case 0:
			assert_ptr_equal(xa_erase(&shared, index), expect);
			mine_stored[who][i] = mine_marked[who][i] = false;
			break;
		case 1:
			xa_set_mark(&shared, index, XA_MARK_0);
			mine_marked[who][i] = mine_stored[who][i];
			break;
		default:
			assert_ptr_equal(xa_store(&shared, index, fake(index), 0), expect);
			mine_stored[who][i] = true;
		}
	}
}

static void writers_do_not_disturb_each_other(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 20; seed++) {
		struct ps_runtime_settings settings = { .seed = seed, .shuffle = 8192 };
		struct ps_runtime *stress = ps_runtime_new(&settings);
		struct task_struct *main_task = ps_task_new(stress, "main", NULL, NULL);
		unsigned long index, found = 0, expected = 0;
		void *entry;

		memset(mine_stored, 0, sizeof(mine_stored));
		memset(mine_marked, 0, sizeof(mine_marked));
		ps_task_enter(main_task);
		xa_init_chunk(&shared, 1 + (unsigned int)(seed % XA_CHUNK_SHIFT_MAX));
		ps_task_leave();
		for (unsigned long who = 0; who < WRITERS; who++)
			ps_task_new(stress, "writer", own_writer, (void *)who);
		ps_runtime_run(stress, UINT64_MAX);
		ps_task_enter(main_task);
		assert_valid(&shared);
		xa_for_each(&shared, index, entry)
			found++;
		for (unsigned int w = 0; w < WRITERS; w++) {
			for (unsigned int i = 0; i < OWN; i++)
				expected += mine_stored[w][i];
		}
		assert_int_equal(found, expected);
		xa_destroy(&shared);
		rcu_barrier();
		ps_task_leave();
		ps_runtime_free(stress);
	}
}

/* ---- frame ---- */

static struct ps_alloc_counts at_start;

static int set_up(void **state)
{
	(void)state;
	ps_alloc_counts(&at_start);
	rt = ps_runtime_new(NULL);
	task = ps_task_new(rt, "test", NULL, NULL);
	ps_task_enter(task);
	return 0;
}

static int tear_down(void **state)
{
	struct ps_alloc_counts now;

	(void)state;
	rcu_barrier();
	ps_task_leave();
	ps_runtime_free(rt);
	ps_alloc_counts(&now);
	return now.live == at_start.live ? 0 : -1;
}

static int note_start(void **state)
{
	(void)state;
	ps_alloc_counts(&at_start);
	return 0;
}

static int nothing_leaked(void **state)
{
	struct ps_alloc_counts now;

	(void)state;
	ps_alloc_counts(&now);
	return now.live == at_start.live ? 0 : -1;
}

#define in_task(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define in_host(test) cmocka_unit_test_setup_teardown(test, note_start, nothing_leaked)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_task(random_operations_agree_with_the_model),
		in_task(a_multi_index_entry_is_one_entry),
		in_task(the_highest_order_covers_half_of_everything),
		in_task(a_range_is_stored_exactly),
		in_task(internal_entries_are_refused),
		in_task(values_keep_63_bits),
		in_task(a_reservation_needs_no_memory_later),
		in_task(conflicts_are_found_in_order),
		in_task(create_range_makes_single_slots),
		in_task(extract_copies_what_is_marked),
		in_task(the_validator_sees_planted_corruption),
		in_task(a_store_without_memory_changes_nothing),
		in_task(a_split_without_memory_changes_nothing),
		in_host(readers_see_an_entry_that_covers_their_index),
		in_host(writers_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
