/* SPDX-License-Identifier: MIT */
/*
 * References under real threads: the speculative protocol of the page cache, without a page cache. A slot names a page;
 * readers load it, take a reference unless the count is 0, and look at the slot again; writers replace the page by a
 * fresh one, after freezing the old one's count, so that the old one goes back to the allocator at once and is soon
 * somebody else's.
 *
 * Every page in a slot carries the slot's number in its contents. A histogram says what readers met; two of its buckets
 * must be zero:
 *     hit      reference taken, slot still names the page, contents are the slot's
 *     moved    reference taken, slot names another page by then
 *     frozen   count was 0
 *     wrong    slot names the page, contents are another slot's           must be 0
 *     leaked   pages still allocated at the end                           must be 0
 */
#include "page/scene.h"

#define SLOTS   4
#define READERS 2
#define WRITERS 2
#define ROUNDS  40000

static struct page *slots[SLOTS];
static long hit, moved, frozen, wrong, busy, replaced, nopage;

#define TALLY(counter) __atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED)

static void reader(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, i;

	for (i = 0; i < ROUNDS; i++) {
		unsigned int n;
		struct page *page;

		seed = seed * 1103515245 + 12345;
		n = seed >> 16 & (SLOTS - 1);
		page = smp_load_acquire(&slots[n]);
		if (!get_page_unless_zero(page)) {
			TALLY(frozen);
			continue;
		}
		if (page != smp_load_acquire(&slots[n])) {
			TALLY(moved);
		} else if (page_word_read(page) != n) {
			TALLY(wrong);
		} else {
			TALLY(hit);
		}
		put_page(page);
	}
}

static void writer(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, i;

	for (i = 0; i < ROUNDS / 4; i++) {
		struct page *old, *page;
		unsigned int n;

		seed = seed * 1103515245 + 12345;
		/* Writers have slots of their own; among themselves they meet in the allocator. */
		n = (seed >> 16 & (SLOTS / WRITERS - 1)) * WRITERS + (unsigned int)(uintptr_t)arg % WRITERS;
		page = alloc_page(GFP_HIGHUSER_MOVABLE);
		if (!page) {
			TALLY(nopage);
			continue;
		}
		page_word_write(page, n);
		old = slots[n];
		if (!page_ref_freeze(old, 1)) {
			/* Some reader looks at it. */
			TALLY(busy);
			put_page(page);
			continue;
		}
		smp_store_release(&slots[n], page);
		TALLY(replaced);
		if (seed >> 24 & 1) {
			page_ref_unfreeze(old, 1);
			put_page(old);
		} else {
			free_unref_page(old, 0);
		}
	}
}

static void spawn(struct scene *s, struct task_struct **t, ps_task_fn fn, unsigned long seed, int cpu)
{
	*t = ps_task_new(s->rt, "thread", fn, (void *)seed);
	assert_non_null(*t);
	(*t)->machine = s->machine;
	(*t)->stats = s->stats;
	(*t)->cpu = cpu;
}

static void speculative_references_never_reach_a_strangers_page(void **state)
{
	struct task_struct *t[READERS + WRITERS];
	struct scene *s = *state;
	int i;

	for (i = 0; i < SLOTS; i++) {
		slots[i] = alloc_page(GFP_HIGHUSER_MOVABLE);
		page_word_write(slots[i], (u64)i);
	}
	for (i = 0; i < READERS; i++)
		spawn(s, &t[i], reader, 1000 + (unsigned long)i, i);
	for (i = 0; i < WRITERS; i++)
		spawn(s, &t[READERS + i], writer, 2000 + (unsigned long)i, i);
	ps_task_leave();
	ps_runtime_run(s->rt, UINT64_MAX);
	ps_task_enter(s->task);
	for (i = 0; i < READERS + WRITERS; i++)
		ps_task_free(t[i]);
	for (i = 0; i < SLOTS; i++) {
		assert_int_equal(page_count(slots[i]), 1);
		assert_int_equal(page_word_read(slots[i]), i);
		put_page(slots[i]);
	}
	print_message("readers: hit %ld, moved %ld, frozen %ld, wrong %ld; writers: replaced %ld, busy %ld\n", hit,
		      moved, frozen, wrong, replaced, busy);
	assert_int_equal(wrong, 0);
	assert_int_equal(nopage, 0);
	assert_int_equal(hit + moved + frozen, READERS * (long)ROUNDS);
	assert_int_equal(replaced + busy, WRITERS * (long)(ROUNDS / 4));
	assert_true(replaced > 0);
}

/* Threads add and drop references and pins of one page; nobody's is lost. */
static void counter(void *arg)
{
	struct page *page = arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		get_page(page);
		if (i % 4 == 0) {
			page_pin(page + (i & 7), 1);
			page_unpin(page, 1);
		}
		put_page(page + (i & 7));
	}
}

static void no_reference_is_lost(void **state)
{
	struct scene *s = *state;
	struct page *page = new_thp(0);
	struct task_struct *t[4];
	int i;

	for (i = 0; i < 4; i++)
		spawn(s, &t[i], counter, (unsigned long)page, i % 2);
	ps_task_leave();
	ps_runtime_run(s->rt, UINT64_MAX);
	ps_task_enter(s->task);
	for (i = 0; i < 4; i++)
		ps_task_free(t[i]);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(head_compound_pincount(page), 0);
	assert_int_equal(vmstat("nr_foll_pin_acquired"), 4 * (ROUNDS / 4));
	assert_int_equal(vmstat("nr_foll_pin_released"), 4 * (ROUNDS / 4));
	put_page(page);
}

static int setup(void **state)
{
	return scene_setup_with(
		state, &(struct scene_spec){ .nr_nodes = 1, .pages = { 4096 }, .cpus = { 2 }, .shuffle = 2000 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(speculative_references_never_reach_a_strangers_page, setup,
						scene_teardown),
		cmocka_unit_test_setup_teardown(no_reference_is_lost, setup, scene_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
