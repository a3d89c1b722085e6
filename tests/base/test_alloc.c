/* SPDX-License-Identifier: MIT */
/*
 * Allocation: what is out is counted, the n-th request fails when asked to, arenas and caches give back all they took,
 * a reserve costs only what is touched. Every teardown proves that nothing leaked.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_all.h"

#include <pagesim/alloc.h>
#include <pagesim/rng.h>

static struct ps_alloc_counts before;

static int setup(void **state)
{
	ps_alloc_counts(&before);
	return 0;
}

static int teardown(void **state)
{
	struct ps_alloc_counts now;

	ps_alloc_fail_nth(0);
	ps_alloc_counts(&now);
	return now.live != before.live || now.live_bytes != before.live_bytes ||
	       now.reserved_bytes != before.reserved_bytes;
}

static void blocks_are_aligned_zeroed_and_counted(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 4096, 1 << 20 };
	struct ps_alloc_counts now;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *plain = ps_alloc(sizes[i]), *zero = ps_zalloc(sizes[i]), *array = ps_calloc(sizes[i], 3);
		char *aligned = ps_alloc_aligned(4096, sizes[i]);

		assert_true(plain && zero && array && aligned);
		assert_true(plain != zero);
		assert_int_equal((uintptr_t)aligned % 4096, 0);
		for (j = 0; j < sizes[i]; j++)
			assert_true(!zero[j] && !array[3 * j]);
		ps_alloc_counts(&now);
		assert_int_equal(now.live - before.live, 4);
		assert_true(now.live_bytes - before.live_bytes >= 6 * sizes[i]);
		ps_free(plain);
		ps_free(zero);
		ps_free(array);
		ps_free(aligned);
	}
	ps_free(NULL);
	assert_null(ps_calloc(SIZE_MAX / 2, 3));
}

static void resizing_keeps_the_content(void **state)
{
	struct ps_alloc_counts now;
	char *block = ps_realloc(NULL, 10), *text = ps_strdup("hello");

	strcpy(block, "content");
	block = ps_realloc(block, 100000);
	assert_string_equal(block, "content");
	block = ps_realloc(block, 8);
	assert_string_equal(block, "content");
	assert_string_equal(text, "hello");
	ps_alloc_counts(&now);
	assert_int_equal(now.live - before.live, 2);
	/* A refused resize leaves the block alone. */
	ps_alloc_fail_nth(1);
	assert_null(ps_realloc(block, 1 << 20));
	assert_string_equal(block, "content");
	ps_free(block);
	ps_free(text);
}

/* One of everything that allocates. Return: how many of the eight were refused; all that came is given back. */
static int one_of_each(void)
{
	struct ps_cache cache;
	struct ps_arena *arena;
	int refused = 0;
	void *p;

	refused += !(p = ps_alloc(1));
	ps_free(p);
	refused += !(p = ps_zalloc(1));
	ps_free(p);
	refused += !(p = ps_calloc(2, 2));
	ps_free(p);
	refused += !(p = ps_alloc_aligned(64, 64));
	ps_free(p);
	refused += !(p = ps_reserve(4096));
	ps_unreserve(p, 4096);
	ps_cache_init(&cache, "cache", 24, false);
	refused += !(p = ps_cache_alloc(&cache));
	ps_cache_free(&cache, p);
	assert_int_equal(ps_cache_destroy(&cache), 0);
	refused += !(arena = ps_arena_new());
	if (arena)
		refused += !ps_arena_alloc(arena, 8, 8);
	ps_arena_free(arena);
	return refused;
}

/* Expect exactly one refusal for every n up to the number of requests, and none beyond. */
static void the_nth_request_fails_and_only_that(void **state)
{
	struct ps_alloc_counts a, b;
	u64 n, requests;

	ps_alloc_counts(&a);
	assert_int_equal(one_of_each(), 0);
	ps_alloc_counts(&b);
	requests = b.requests - a.requests;
	assert_true(requests >= 8);
	for (n = 1;; n++) {
		int refused;

		ps_alloc_fail_nth(n);
		refused = one_of_each();
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(refused, 0);
			break;
		}
		assert_int_equal(refused, 1);
	}
	assert_int_equal(n, requests + 1);
	ps_alloc_counts(&b);
	assert_int_equal(b.failed - a.failed, requests);
}

static void an_arena_takes_its_blocks_with_it(void **state)
{
	struct ps_arena *arena = ps_arena_new(), *other = ps_arena_new();
	struct ps_alloc_counts now;
	char *block[100];
	int i;

	for (i = 0; i < 100; i++) {
		size_t align = (size_t)1 << (i % 13);

		block[i] = ps_arena_alloc(arena, align, 4096);
		assert_non_null(block[i]);
		assert_int_equal((uintptr_t)block[i] % align, 0);
		memset(block[i], i, 4096);
	}
	assert_true(ps_arena_bytes(arena) >= 100 * 4096);
	assert_int_equal(ps_arena_bytes(other), 0);
	for (i = 0; i < 100; i++) {
		assert_int_equal(block[i][4095], (char)i);
		if (i % 3 == 0)
			ps_arena_release(arena, block[i]);
	}
	ps_arena_release(arena, NULL);
	ps_alloc_counts(&now);
	assert_int_equal(now.live - before.live, 2 + 66);
	ps_arena_free(arena);
	ps_arena_free(other);
	ps_arena_free(NULL);
}

struct object {
	u64 a, b, c;
};

static void a_cache_recycles_and_counts_its_objects(void **state)
{
	struct ps_cache cache;
	struct object *o[1000], *again;
	int i;

	ps_cache_init(&cache, "object", sizeof(struct object), true);
	for (i = 0; i < 1000; i++) {
		o[i] = ps_cache_zalloc(&cache);
		assert_true(o[i] && !o[i]->a && !o[i]->b && !o[i]->c);
		assert_int_equal((uintptr_t)o[i] % 16, 0);
		o[i]->a = o[i]->b = o[i]->c = (u64)i;
	}
	assert_int_equal(ps_cache_live(&cache), 1000);
	for (i = 0; i < 1000; i++)
		assert_true(o[i]->a == (u64)i && o[i]->c == (u64)i);
	ps_cache_free(&cache, o[7]);
	/* Type-safe memory: who still looks finds what the last user left. */
	assert_true(o[7]->a == 7 && o[7]->b == 7 && o[7]->c == 7);
	again = ps_cache_alloc(&cache);
	assert_ptr_equal(again, o[7]);
	assert_int_equal(again->c, 7);
	for (i = 0; i < 1000; i++)
		ps_cache_free(&cache, o[i]);
	ps_cache_free(&cache, NULL);
	assert_int_equal(ps_cache_live(&cache), 0);
	assert_int_equal(ps_cache_destroy(&cache), 0);
}

static void a_destroyed_cache_tells_its_leaks(void **state)
{
	struct ps_cache cache;

	ps_cache_init(&cache, "leaky", 48, false);
	assert_non_null(ps_cache_alloc(&cache));
	assert_non_null(ps_cache_alloc(&cache));
	assert_int_equal(ps_cache_destroy(&cache), 2);
	/* And can be used again. */
	assert_non_null(ps_cache_alloc(&cache));
	assert_int_equal(ps_cache_destroy(&cache), 1);
}

struct hook_log {
	struct ps_cache_hook hook;
	void *alloced[8], *freed[8];
	int nr_alloced, nr_freed;
};

static void log_alloc(void *arg, struct ps_cache_hook *hook, void *object)
{
	struct hook_log *log = arg;

	assert_ptr_equal(hook, &log->hook);
	log->alloced[log->nr_alloced++] = object;
}

static void log_free(void *arg, struct ps_cache_hook *hook, void *object)
{
	struct hook_log *log = arg;

	log->freed[log->nr_freed++] = object;
}

static void a_hook_sees_every_object_come_and_go(void **state)
{
	struct hook_log log = { .hook = { log_alloc, log_free, &log } };
	struct ps_cache cache;
	void *a, *b;

	ps_cache_init(&cache, "watched", 32, false);
	cache.hook = &log.hook;
	a = ps_cache_alloc(&cache);
	ps_alloc_fail_nth(1);
	assert_null(ps_cache_alloc(&cache));
	b = ps_cache_alloc(&cache);
	ps_cache_free(&cache, a);
	ps_cache_free(&cache, b);
	assert_int_equal(log.nr_alloced, 2);
	assert_int_equal(log.nr_freed, 2);
	assert_true(log.alloced[0] == a && log.alloced[1] == b && log.freed[0] == a && log.freed[1] == b);
	assert_int_equal(ps_cache_destroy(&cache), 0);
}

static long resident_kib(void)
{
	long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 16 TiB of address space, 64 pages of it touched. Expect zeroes, and a growth far below a huge page each. */
static void a_reserve_costs_only_what_is_touched(void **state)
{
	const size_t bytes = (size_t)1 << 44;
	struct ps_alloc_counts now;
	long kib = resident_kib();
	char *base = ps_reserve(bytes);
	size_t i;

	if (!base)
		skip(); /* a sanitizer or a limit of the host leaves no room for it */
	ps_alloc_counts(&now);
	assert_int_equal(now.reserved_bytes - before.reserved_bytes, bytes);
	for (i = 0; i < 64; i++) {
		char *p = base + i * (bytes / 64);

		assert_int_equal(p[100], 0);
		p[100] = 1;
	}
	assert_true(resident_kib() - kib < 8 * 1024);
	ps_reserve_forget(base, bytes);
	for (i = 0; i < 64; i++)
		assert_int_equal(base[i * (bytes / 64) + 100], 0);
	ps_unreserve(base, bytes);
	ps_unreserve(NULL, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(blocks_are_aligned_zeroed_and_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(resizing_keeps_the_content, setup, teardown),
		cmocka_unit_test_setup_teardown(the_nth_request_fails_and_only_that, setup, teardown),
		cmocka_unit_test_setup_teardown(an_arena_takes_its_blocks_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cache_recycles_and_counts_its_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(a_destroyed_cache_tells_its_leaks, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hook_sees_every_object_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reserve_costs_only_what_is_touched, setup, teardown),
	};

	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
