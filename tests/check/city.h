/* SPDX-License-Identifier: MIT */
/*
 * A small machine in full use, for the tests of the check: two processes that share some of everything.
 *
 *      A  own      8 anonymous pages, exclusive                  B (forked from A)
 *         shared   8 anonymous pages, mapped by both   ─────────  the same
 *         huge     1 huge page, A's alone
 *         twins    1 huge page, mapped by both         ─────────  the same
 *         file     8 pages of /d/file, shared, clean, write-protected
 *         tmp      8 pages of /t/tmp, shared, written
 *         blank    mapped, never touched
 *         away     8 anonymous pages, 4 of them in swap, 1 mapped and in the swap cache
 *         tmp[7]   in swap
 */
#ifndef TESTS_CHECK_CITY_H
#define TESTS_CHECK_CITY_H

#include "fixtures/scene_fault.h"
#include "fixtures/swap_verbs.h"

struct city {
	struct task_struct *a, *b;
	u64 own, shared, huge, twins, file, tmp, blank, away;
};

static inline void city_build(struct city *c)
{
	struct inode *inode;
	struct page *page;
	u64 i;

	scene->machine->files->tmpfs_huge = SHMEM_HUGE_NEVER;
	c->a = start("A", 0);
	c->shared = map_filled(8, 1);
	c->twins = map_huge_filled(1, 2);
	c->b = fork_task("B");
	c->own = map_filled(8, 3);
	c->huge = map_huge_filled(1, 4);
	c->file = map_file("/d/file", 0, 8, RW, SHARED);
	fill(c->file, 8, 5);
	c->tmp = map_file("/t/tmp", 0, 8, RW, SHARED);
	fill(c->tmp, 8, 6);
	swap_on(31);
	c->away = map_filled(8, 7);
	c->blank = map(8);
	for (i = 0; i < 4; i++)
		swap_out(c->away + pages(i));
	lru_add_drain_all();
	page = page_at(c->away + pages(4));
	lock_page(page);
	assert_true(add_to_swap(page));
	unlock_page(page);
	swap_out_shmem("/t/tmp", 7);
	inode = open_file("/d/file");
	assert_int_equal(file_fsync(inode), 0);
	iput(inode);
	lru_add_drain_all();
}

#endif
