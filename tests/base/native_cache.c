/* SPDX-License-Identifier: MIT */
/* Allocation from many threads at once: no object is out twice, and the sums are right when all is quiet. */
#include <pthread.h>

#include "cmocka_all.h"

#include <pagesim/alloc.h>

#define THREADS 4
#define ROUNDS  20000

static struct ps_cache cache;

struct worker {
	pthread_t thread;
	u64 id;
	u64 torn; /* objects somebody else wrote to while they were ours */
	void *left;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	u64 *held[8] = { NULL };
	int i;

	for (i = 0; i < ROUNDS; i++) {
		u64 **slot = &held[i % 8];

		if (*slot) {
			w->torn += (*slot)[0] != w->id || (*slot)[3] != w->id;
			ps_cache_free(&cache, *slot);
		}
		*slot = ps_cache_alloc(&cache);
		(*slot)[0] = (*slot)[3] = w->id;
		ps_free(ps_alloc((size_t)i % 500));
	}
	w->left = held[0];
	for (i = 1; i < 8; i++)
		ps_cache_free(&cache, held[i]);
	return NULL;
}

static void threads_never_share_an_object(void **state)
{
	struct worker w[THREADS] = { 0 };
	struct ps_alloc_counts before, after;
	u64 i;

	ps_alloc_counts(&before);
	ps_cache_init(&cache, "shared", 32, false);
	for (i = 0; i < THREADS; i++) {
		w[i].id = i + 1;
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(w[i].torn, 0);
	assert_int_equal(ps_cache_live(&cache), THREADS);
	/* Freed by another thread than the one that allocated. */
	for (i = 0; i < THREADS; i++)
		ps_cache_free(&cache, w[i].left);
	assert_int_equal(ps_cache_destroy(&cache), 0);
	ps_alloc_counts(&after);
	assert_int_equal(after.live, before.live);
	assert_int_equal(after.live_bytes, before.live_bytes);
	assert_int_equal(after.requests - before.requests, (u64)THREADS * ROUNDS * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(threads_never_share_an_object) };

	return cmocka_run_group_tests_name("native cache", tests, NULL, NULL);
}
