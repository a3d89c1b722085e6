/* SPDX-License-Identifier: MIT */
/*
 * The xarray on real threads: writers that grow, shrink, mark and split one array while readers walk it under RCU.
 * Meant for ThreadSanitizer; without it, the counts below must be zero all the same. Threads record, the main thread
 * asserts.
 *
 * Named buckets:
 *	lost		an own entry was not there, or not as its writer left it
 *	foreign		a second look at the slot confirmed an entry that does not cover the index
 *	missing		nothing was found where something always is
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pagesim/alloc.h>
#include <pagesim/rcu.h>
#include <pagesim/rng.h>
#include <pagesim/runtime.h>
#include <pagesim/task.h>
#include <pagesim/xarray.h>

#define SPAN    64u /* indices the splitter works on; above them the others' */
#define WRITERS 2u
#define READERS 2u
#define OWN     64u
#define ROUNDS  2000u

static struct xarray xa;
static int stop;
static unsigned long lost, foreign, missing, reads;

static void count(unsigned long *bucket)
{
	__atomic_fetch_add(bucket, 1, __ATOMIC_RELAXED);
}

static void *covering(unsigned long first, unsigned int order)
{
	return xa_mk_value(first << 8 | order);
}

static void *own_entry(unsigned long index, unsigned int n)
{
	return (void *)((index * 64 + n + 1) * 8);
}

static void split_to(unsigned long index, unsigned int from, unsigned int to)
{
	struct xa_state xas = xa_state_at(&xa, index, to);
	void *old = xa_load(&xa, index);

	xas_split_alloc(&xas, old, from, 0);
	xas_lock(&xas);
	xas_split(&xas, old, from);
	for (unsigned long i = index; i < index + (1UL << from); i += 1UL << to)
		__xa_store(&xa, i, covering(i, to), 0);
	xas_unlock(&xas);
	xas_destroy(&xas);
}

static void store_whole(void)
{
	struct xa_state xas = xa_state_at(&xa, 0, 6);

	do {
		xas_lock(&xas);
		xas_store(&xas, covering(0, 6));
		xas_unlock(&xas);
	} while (xas_nomem(&xas, 0));
}

static void splitter(void *arg)
{
	(void)arg;
	/* Goes on until the readers have come to something, however busy the host is. */
	for (unsigned int round = 0; round < ROUNDS || __atomic_load_n(&reads, __ATOMIC_RELAXED) < READERS * 20;
	     round++) {
		store_whole();
		if (round % 2) {
			split_to(0, 6, 0);
			continue;
		}
		split_to(0, 6, 3);
		for (unsigned long i = 0; i < SPAN; i += 8)
			split_to(i, 3, 1);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
}

static void writer(void *arg)
{
	const unsigned long who = (unsigned long)arg;
	unsigned int version[OWN] = { 0 };
	bool stored[OWN] = { false }, marked[OWN] = { false };
	struct ps_rng rng;

	ps_rng_init(&rng, who);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		unsigned int i = (unsigned int)ps_rng_below(&rng, OWN);
		unsigned long index = SPAN + (unsigned long)i * i * WRITERS + who;

		if (xa_load(&xa, index) != (stored[i] ? own_entry(index, version[i]) : NULL) ||
		    xa_get_mark(&xa, index, XA_MARK_0) != marked[i])
			count(&lost);
		switch (ps_rng_below(&rng, 4)) {
		case 0:
			xa_erase(&xa, index);
			stored[i] = marked[i] = false;
			break;
		case 1:
			xa_set_mark(&xa, index, XA_MARK_0);
			marked[i] = stored[i];
			break;
		default:
			version[i] = (version[i] + 1) % 64;
			xa_store(&xa, index, own_entry(index, version[i]), 0);
			stored[i] = true;
		}
	}
	for (unsigned int i = 0; i < OWN; i++)
		xa_erase(&xa, SPAN + (unsigned long)i * i * WRITERS + who);
}

static void check_entry(const void *entry, unsigned long index)
{
	unsigned long v;

	if (index >= SPAN) {
		if ((unsigned long)entry / 8 - 1 < index * 64 || (unsigned long)entry / 8 - 1 >= (index + 1) * 64)
			count(&foreign);
		return;
	}
	if (!xa_is_value(entry)) {
		count(&foreign);
		return;
	}
	v = xa_to_value(entry);
	if (index < v >> 8 || index >= (v >> 8) + (1UL << (v & 0xff)))
		count(&foreign);
}

static void reader(void *arg)
{
	struct ps_rng rng;

	ps_rng_init(&rng, 100 + (unsigned long)arg);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		struct xa_state xas = xa_state_at(&xa, ps_rng_below(&rng, SPAN), 0);
		void *entry;

		rcu_read_lock();
		do {
			xas_reset(&xas);
			entry = xas_load(&xas);
		} while (xas_retry(&xas, entry) || entry != xas_reload(&xas));
		rcu_read_unlock();
		if (entry)
			check_entry(entry, xas.xa_index);
		else
			count(&missing);

		xas_set(&xas, 0);
		rcu_read_lock();
		xas_for_each(&xas, entry, ULONG_MAX) {
			if (xas_retry(&xas, entry))
				continue;
			if (entry != xas_reload(&xas)) {
				xas_reset(&xas);
				continue;
			}
			check_entry(entry, xas.xa_index);
		}
		rcu_read_unlock();
		xas_set(&xas, 0);
		rcu_read_lock();
		xas_for_each_marked(&xas, entry, ULONG_MAX, XA_MARK_0)
		{
			if (!xas_retry(&xas, entry) && entry == xas_reload(&xas))
				check_entry(entry, xas.xa_index);
		}
		rcu_read_unlock();
		count(&reads);
	}
}

static void readers_and_writers_agree_on_real_threads(void **state)
{
	(void)state;
	for (unsigned int chunk = 1; chunk <= XA_CHUNK_SHIFT_MAX; chunk++) {
		struct ps_runtime *rt = ps_runtime_new(NULL);
		struct task_struct *main_task = ps_task_new(rt, "main", NULL, NULL);
		char why[200] = "";

		ps_task_enter(main_task);
		xa_init_chunk(&xa, chunk);
		store_whole();
		ps_task_leave();
		stop = 0;
		lost = foreign = missing = reads = 0;
		ps_task_new(rt, "splitter", splitter, NULL);
		for (unsigned long i = 0; i < WRITERS; i++)
			ps_task_new(rt, "writer", writer, (void *)i);
		for (unsigned long i = 0; i < READERS; i++)
			ps_task_new(rt, "reader", reader, (void *)i);
		ps_runtime_run(rt, UINT64_MAX);
		assert_int_equal(lost, 0);
		assert_int_equal(foreign, 0);
		assert_int_equal(missing, 0);
		assert_true(reads >= READERS * 20);
		ps_task_enter(main_task);
		if (!xa_validate(&xa, why, sizeof(why)))
			fail_msg("chunk %u: %s", chunk, why);
		xa_destroy(&xa);
		assert_int_equal(xa.xa_nodes, 0);
		rcu_barrier();
		ps_task_leave();
		ps_runtime_free(rt);
	}
}

static int nothing_leaked(void **state)
{
	struct ps_alloc_counts now;

	(void)state;
	ps_alloc_counts(&now);
	return now.live ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(readers_and_writers_agree_on_real_threads, nothing_leaked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
