/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: what share of its objects each is asked for, in which portions, and what is put off. The numbers are those of
 * 6.1's formula: (freeable >> priority) * 4 / seeks, and never more than twice what there is.
 */
#include "page/scene.h"

#include <pagesim/shrinker.h>

/* A store of objects that notes how it is asked. */
struct hoard {
	struct shrinker shrinker;
	unsigned long objects[4]; /* by node */
	unsigned long stuck;      /* of each node's: cannot be freed */
	bool stop;                /* says SHRINK_STOP */
	unsigned int calls;
	unsigned long asked, last;
	nid_t nid;
};

static unsigned long hoard_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	return container_of(shrinker, struct hoard, shrinker)->objects[sc->nid];
}

static unsigned long hoard_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct hoard *h = container_of(shrinker, struct hoard, shrinker);
	unsigned long freed = h->objects[sc->nid] > h->stuck ? h->objects[sc->nid] - h->stuck : 0;

	h->calls++;
	h->asked += sc->nr_to_scan;
	h->last = sc->nr_to_scan;
	h->nid = sc->nid;
	if (h->stop)
		return SHRINK_STOP;
	freed = ps_min(freed, sc->nr_to_scan);
	h->objects[sc->nid] -= freed;
	return freed;
}

static void hoard_open(struct hoard *h, unsigned int flags)
{
	*h = (struct hoard){ .shrinker = { .count_objects = hoard_count,
					   .scan_objects = hoard_scan,
					   .seeks = DEFAULT_SEEKS,
					   .flags = flags } };
	register_shrinker(&h->shrinker, "hoard");
}

static int setup(void **state)
{
	const struct scene_spec spec = { .nr_nodes = 3, .pages = { 2048, 2048, 2048 }, .cpus = { 1 } };

	return scene_setup_with(state, &spec);
}

/* objects, priority, seeks, batch -> calls, asked in all */
static void a_shrinker_is_asked_for_its_share(void **state)
{
	static const struct {
		const char *name;
		unsigned long objects;
		int priority, seeks;
		unsigned long batch;
		unsigned int calls;
		unsigned long asked, put_off;
	} table[] = {
		{ "nothing there", 0, 0, 2, 0, 0, 0, 0 },
		{ "everything, and a rest", 100, 0, 2, 0, 1, 128, 72 },
		{ "in portions", 1000, 0, 2, 0, 15, 1920, 80 },
		{ "in large portions", 1000, 0, 2, 4096, 1, 2000, 0 },
		{ "a part", 4096, 3, 2, 0, 8, 1024, 0 },
		{ "less than a portion", 4096, 7, 2, 0, 0, 0, 64 },
		{ "the rest of a part", 4096, 4, 3, 0, 2, 256, 85 },
		{ "cheap to make again", 1000, 12, 0, 0, 3, 384, 116 },
		{ "one is worth a call", 1, 0, 2, 0, 1, 2, 0 },
		{ "a share of nothing", 1, 1, 2, 0, 0, 0, 0 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct hoard h;

		hoard_open(&h, SHRINKER_NUMA_AWARE);
		h.shrinker.seeks = table[i].seeks;
		h.shrinker.batch = table[i].batch;
		h.objects[1] = h.stuck = table[i].objects;
		assert_int_equal(shrink_slab(GFP_KERNEL, 1, table[i].priority), 0);
		if (h.calls != table[i].calls || h.asked != table[i].asked ||
		    atomic_long_read(&h.shrinker.nr_deferred[1]) != (long)table[i].put_off)
			fail_msg("%s: %u calls, %lu asked, %ld put off", table[i].name, h.calls, h.asked,
				 (long)atomic_long_read(&h.shrinker.nr_deferred[1]));
		if (h.calls)
			assert_int_equal(h.nid, 1);
		unregister_shrinker(&h.shrinker);
	}
}

/* Each time too little for a portion. Expect the sum to be worth one in the end, and no other node to pay. */
static void what_is_put_off_adds_up(void **state)
{
	struct hoard h;
	int rounds = 0;

	(void)state;
	hoard_open(&h, SHRINKER_NUMA_AWARE);
	h.objects[0] = h.objects[2] = h.stuck = 200;
	/* 200 >> 4 = 12, twice that is 24 a round: far below 128, but put off >> 4 adds a little. */
	while (!h.calls && rounds < 200) {
		shrink_slab(GFP_KERNEL, 0, 4);
		rounds++;
	}
	assert_int_equal(h.calls, 0);
	/* Never more than twice what there is. */
	assert_int_equal(atomic_long_read(&h.shrinker.nr_deferred[0]), 400);
	assert_int_equal(atomic_long_read(&h.shrinker.nr_deferred[2]), 0);
	shrink_slab(GFP_KERNEL, 0, 1);
	assert_true(h.calls > 0);
	assert_true(atomic_long_read(&h.shrinker.nr_deferred[0]) < 400);
	unregister_shrinker(&h.shrinker);
}

static void a_shrinker_that_stops_is_left_alone(void **state)
{
	struct hoard h;

	(void)state;
	hoard_open(&h, SHRINKER_NUMA_AWARE);
	h.objects[0] = 1000;
	h.stop = true;
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 0);
	assert_int_equal(h.calls, 1);
	assert_int_equal(vmstat("slabs_scanned"), 0);
	/* What was not done is put off. */
	assert_int_equal(atomic_long_read(&h.shrinker.nr_deferred[0]), 2000);
	unregister_shrinker(&h.shrinker);
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 0);
	assert_int_equal(h.calls, 1);
}

/* Expect one that knows nothing of nodes to be asked for all of it, whichever node is short. */
static void who_is_not_numa_aware_is_asked_for_everything(void **state)
{
	struct hoard h;

	(void)state;
	hoard_open(&h, 0);
	h.objects[0] = 50;
	assert_int_equal(shrink_slab(GFP_KERNEL, 2, 0), 50);
	assert_int_equal(h.nid, 0);
	assert_int_equal(vmstat("slabs_scanned"), 100);
	unregister_shrinker(&h.shrinker);
}

/* Expect drop_caches to go on while much comes of it, on all nodes, and to end. */
static void drop_slab_empties_every_node(void **state)
{
	struct hoard h;

	(void)state;
	hoard_open(&h, SHRINKER_NUMA_AWARE);
	h.objects[0] = 100;
	h.objects[1] = 5000;
	h.objects[2] = 7;
	drop_slab();
	assert_int_equal(h.objects[0], 0);
	assert_int_equal(h.objects[1], 0);
	assert_int_equal(h.objects[2], 0);
	assert_int_equal(vmstat("drop_slab"), 1);
	/* Nothing to be had: one look at each. */
	h.calls = 0;
	h.objects[0] = h.stuck = 3;
	drop_slab();
	assert_int_equal(h.calls, 1);
	unregister_shrinker(&h.shrinker);
	unregister_shrinker(&h.shrinker); /* once more is fine */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_shrinker_is_asked_for_its_share),   T(what_is_put_off_adds_up),
		T(a_shrinker_that_stops_is_left_alone), T(who_is_not_numa_aware_is_asked_for_everything),
		T(drop_slab_empties_every_node),
	};

	return cmocka_run_group_tests_name("shrinkers", tests, NULL, NULL);
}
