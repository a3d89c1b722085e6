/* SPDX-License-Identifier: MIT */
/*
 * A machine with memory and files, and one hosted task: the page layer's scene plus machine->files. Teardown validates
 * all files against all counters, frees them, and proves that no page, no byte of host memory is left.
 */
#ifndef PS_TESTS_CACHE_SCENE_H
#define PS_TESTS_CACHE_SCENE_H

#include "page/scene.h"

#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/inode.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rcu.h>
#include <pagesim/sched_point.h>
#include <pagesim/shmem.h>
#include <pagesim/writeback.h>

static inline struct ps_files *files(void)
{
	return this_machine()->files;
}

static inline void assert_files_valid(void)
{
	char why[200] = "";

	if (!ps_files_validate(files(), why, sizeof(why)))
		fail_msg("%s", why);
}

/* A warning of the model fails the test that caused it. */
static unsigned int cache_warnings;

static inline void hear_warning(void *arg, const struct ps_bug *bug)
{
	(void)arg;
	print_error("%s:%d: %s: %s %s\n", bug->file, bug->line, bug->kind == PS_BUG ? "BUG" : "warning", bug->expr,
		    bug->detail ? bug->detail : "");
	cache_warnings += bug->kind != PS_BUG;
}

static inline int cache_setup_with(void **state, const struct scene_spec *spec)
{
	if (scene_setup_with(state, spec))
		return -1;
	current->stats->thp_pages = (u32)HPAGE_PMD_NR;
	cache_warnings = 0;
	ps_bug_set_handler((struct ps_bug_handler){ hear_warning, NULL });
	return ps_files_init(this_machine());
}

/* Two nodes of 64 MiB, 9-bit tables: huge pages have 512 pages. */
static inline int two_nodes(void **state)
{
	const struct scene_spec spec = { .nr_nodes = 2, .pages = { 16384, 16384 }, .cpus = { 1, 1 } };

	return cache_setup_with(state, &spec);
}

/* 2-bit levels: nodes of the index have 4 slots, huge pages 4 pages. */
static inline int tiny(void **state)
{
	const struct scene_spec spec = { .nr_nodes = 2, .pages = { 256, 256 }, .cpus = { 1, 1 }, .pt_bits = 2 };

	return cache_setup_with(state, &spec);
}

static inline int cache_teardown(void **state)
{
	int err;

	lru_add_drain_all();
	assert_files_valid();
	ps_files_destroy(this_machine());
	err = scene_teardown(state);
	ps_bug_set_handler((struct ps_bug_handler){ NULL, NULL });
	assert_int_equal(cache_warnings, 0);
	return err;
}

/* The file of @path, with a reference. */
static inline struct inode *file(const char *path)
{
	struct inode *inode;

	assert_int_equal(ps_file_open(files(), path, true, &inode), 0);
	return inode;
}

/* A new locked page of 1 << order, as the cache gets it. */
static inline struct page *new_page(unsigned int order)
{
	struct page *page = alloc_pages(order ? GFP_HIGHUSER_MOVABLE | __GFP_COMP : GFP_HIGHUSER_MOVABLE, order);

	assert_non_null(page);
	if (order >= 2)
		prep_transhuge_page(page);
	return page;
}

/* A page of @inode at @index, uptodate, holding @word, referenced by the cache alone. */
static inline struct page *cached_page(struct inode *inode, pgoff_t index, u64 word)
{
	struct page *page = new_page(0);

	assert_int_equal(add_to_page_cache_lru(page, inode->i_mapping, index, GFP_KERNEL), 0);
	clear_highpage(page);
	page_word_write(page, word);
	SetPageUptodate(page);
	if (inode->i_size < (index + 1) << PAGE_SHIFT)
		inode->i_size = (index + 1) << PAGE_SHIFT;
	unlock_page(page);
	lru_add_drain_all();
	put_page(page);
	return page;
}

/* ---- one preemption, everywhere ---- */

/*
 * Two tasks. The victim runs; at its k-th schedule point the intruder runs to its end (or until it must wait for the
 * victim), then the victim goes on. With k from 1 to the number of points the victim has, every race that takes one
 * preemption is tried, each exactly once. Each k gets a fresh machine: @prepare makes the scene, @check looks at what
 * is left; both run alone.
 */
struct preemption {
	struct ps_listener listener;
	struct task_struct *victim, *intruder;
	void (*victim_fn)(void);
	void (*intruder_fn)(void);
	unsigned long at, points;
};

static struct preemption preemption;

static inline void preemption_step(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	struct preemption *p = container_of(listener, struct preemption, listener);

	(void)kind;
	(void)obj;
	if (current == p->victim && ++p->points == p->at && !ps_task_ended(p->intruder))
		ps_yield_to(p->intruder);
}

static inline void preemption_victim(void *arg)
{
	(void)arg;
	preemption.victim_fn();
}

static inline void preemption_intruder(void *arg)
{
	(void)arg;
	preemption.intruder_fn();
}

/* Return: how many points were tried. */
static inline unsigned long preempt_everywhere(void (*prepare)(void), void (*victim)(void), void (*intruder)(void),
					       void (*check)(void))
{
	const struct scene_spec spec = { .nr_nodes = 1, .pages = { 256 }, .cpus = { 2 }, .pt_bits = 2 };
	unsigned long k;

	for (k = 1;; k++) {
		struct scene *s;
		void *scene = NULL;

		assert_int_equal(cache_setup_with(&scene, &spec), 0);
		s = (struct scene *)scene;
		prepare();
		preemption = (struct preemption){
			.listener = { preemption_step }, .victim_fn = victim, .intruder_fn = intruder, .at = k
		};
		/* The first task made is the first to run; without a preemption the intruder runs second. */
		preemption.victim = ps_task_new(s->rt, "victim", preemption_victim, NULL);
		preemption.intruder = ps_task_new(s->rt, "intruder", preemption_intruder, NULL);
		ps_runtime_listen(s->rt, &preemption.listener);
		ps_task_leave();
		ps_runtime_run(s->rt, UINT64_MAX);
		ps_runtime_listen(s->rt, NULL);
		ps_task_enter(s->task);
		if (!ps_task_ended(preemption.victim) || !ps_task_ended(preemption.intruder))
			fail_msg("preempted at point %lu: somebody waits for ever", k);
		if (check)
			check();
		assert_int_equal(cache_teardown(&scene), 0);
		if (preemption.points < k)
			break;
	}
	return k - 1;
}

#define on_two_nodes(test) cmocka_unit_test_setup_teardown(test, two_nodes, cache_teardown)
#define on_tiny(test)      cmocka_unit_test_setup_teardown(test, tiny, cache_teardown)

#endif
