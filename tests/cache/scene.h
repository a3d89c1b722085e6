/* SPDX-License-Identifier: MIT */
/*
 * A machine with memory and files, and one hosted task: the page layer's scene plus machine->files. Teardown validates all
 * files against all counters, frees them, and proves that no page, no byte of host memory is left.
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

static inline int cache_setup_with(void **state, const struct scene_spec *spec)
{
	if (scene_setup_with(state, spec))
		return -1;
	current->stats->thp_pages = (u32)HPAGE_PMD_NR;
	return ps_files_init(this_machine());
}

/* Two nodes of 64 MiB, 9-bit tables: huge pages have 512 pages. */
static inline int two_nodes(void **state)
{
	const struct scene_spec spec = {.nr_nodes = 2, .pages = {16384, 16384}, .cpus = {1, 1}};

	return cache_setup_with(state, &spec);
}

/* 2-bit levels: nodes of the index have 4 slots, huge pages 4 pages. */
static inline int tiny(void **state)
{
	const struct scene_spec spec = {.nr_nodes = 2, .pages = {256, 256}, .cpus = {1, 1}, .pt_bits = 2};

	return cache_setup_with(state, &spec);
}

static inline int cache_teardown(void **state)
{
	lru_add_drain_all();
	assert_files_valid();
	ps_files_destroy(this_machine());
	return scene_teardown(state);
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

#define on_two_nodes(test) cmocka_unit_test_setup_teardown(test, two_nodes, cache_teardown)
#define on_tiny(test)	   cmocka_unit_test_setup_teardown(test, tiny, cache_teardown)

#endif
