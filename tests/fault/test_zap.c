/* SPDX-License-Identifier: MIT */
/*
 * Taking mappings away: what is freed when, what the page and its file learn of it, and that no CPU keeps a translation.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/compound.h>
#include <pagesim/zap.h>

static u64 H;

static int setup(void **state)
{
	(void)state;
	if (scene_fault_setup("two-node"))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

static u64 free_pages(void)
{
	drain_all_pages(NULL);
	return (u64)vmstat("nr_free_pages");
}

static void unmapped_pages_are_freed(void **state)
{
	u64 before = free_pages(), r = map_filled(300, 1), h = map_huge_filled(1, 2);

	(void)state;
	lru_add_drain_all();
	assert_int_equal(free_pages(), before - 300 - H);
	assert_int_equal(do_munmap(current->mm, r, pages(300)), 0);
	assert_int_equal(free_pages(), before - H);
	assert_int_equal(do_munmap(current->mm, h, pages(H)), 0);
	assert_int_equal(free_pages(), before);
	assert_int_equal(atomic_long_read(&current->mm->pt.nr_ptes) + atomic_long_read(&current->mm->pt.nr_pmds) +
				 atomic_long_read(&current->mm->pt.nr_puds),
			 0);
}

/* A part of a mapping; a part of a huge page. Expect: the rest keeps its words; the huge page waits to be split. */
static void a_part_is_taken_out(void **state)
{
	u64 r = map_filled(8, 1), h = map_huge_filled(1, 2), word;

	(void)state;
	assert_int_equal(do_munmap(current->mm, r + pages(2), pages(3)), 0);
	assert_int_equal(try_load(r + pages(2), &word), -EFAULT);
	assert_int_equal(load(r + pages(1)), word_of(1, 1));
	assert_int_equal(load(r + pages(5)), word_of(1, 5));
	assert_int_equal(do_munmap(current->mm, h + pages(10), pages(5)), 0);
	assert_true(pmd_table(pmd_at(h)));
	assert_int_equal(vmstat("thp_split_pmd"), 1);
	assert_int_equal(vmstat("thp_deferred_split_page"), 1);
	assert_int_equal(load(h + pages(9)), word_of(2, 9));
	assert_int_equal(load(h + pages(15)), word_of(2, 15));
}

static void a_shared_page_lives_until_the_last_unmaps_it(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *page = page_at(r);

	(void)state;
	lru_add_drain_all();
	assert_int_equal(do_munmap(a->mm, r, PAGE_SIZE), 0);
	assert_int_equal(page_ref_count(page), 1);
	as(b);
	expect_filled(r, 1, 1);
}

/* CPU 3 has used the memory: it is interrupted before the pages are given back. */
static void no_cpu_keeps_a_translation(void **state)
{
	u64 r = map_filled(4, 1), word;
	struct task_struct *a = current, *t = thread("T", 3);

	(void)state;
	as(t);
	fill(r, 4, 2);
	as(a);
	assert_int_equal(do_munmap(a->mm, r, pages(4)), 0);
	assert_true(scene->machine->cpus[3].ipis > 0);
	as(t);
	assert_int_equal(try_load(r, &word), -EFAULT);
	expect_sound();
}

/* More pages than a gather holds. Expect: flushed and freed in turns, all words' frames back. */
static void a_gather_that_is_full_is_emptied(void **state)
{
	u64 before = free_pages(), n = 3 * MMU_GATHER_PAGES + 7, r = map_filled(n, 1);
	struct vm_area_struct *vma = vma_at(r);
	struct mmu_gather tlb;

	(void)state;
	lru_add_drain_all();
	tlb_gather_mmu(&tlb, current->mm);
	unmap_page_range(&tlb, vma, r, r + pages(n), NULL);
	assert_int_equal(tlb.nr, 7);
	tlb_finish_mmu(&tlb);
	assert_int_equal(free_pages(), before);
	expect_zero(r, 3);
}

/* ---- what the file learns */

static void dirty_and_young_entries_are_carried_over(void **state)
{
	u64 s = map_file("/t/f", 0, 4, RW, SHARED);
	struct page *dirty, *clean, *old;
	pte_t *ptep;

	(void)state;
	load(s);
	load(s + pages(1));
	load(s + pages(2));
	dirty = page_at(s);
	clean = page_at(s + pages(1));
	old = page_at(s + pages(2));
	store(s, 1); /* the entry knows, the page does not */
	assert_false(PageDirty(dirty));
	ptep = pte_offset_map(&current->mm->pt, pmd_at(s), s);
	set_pte_at(ptep + 2, pte_mkold(ptep[2]));
	ClearPageReferenced(clean);
	ClearPageReferenced(old);
	flush_tlb_mm(&current->mm->pt);
	assert_int_equal(do_munmap(current->mm, s, pages(4)), 0);
	assert_true(PageDirty(dirty));
	assert_false(PageDirty(clean));
	assert_true(PageReferenced(clean));
	assert_false(PageReferenced(old));
}

/*
 * The same for a huge page of tmpfs mapped by a PMD:
 *   1. a read fault maps it whole; tmpfs needs no notice, so the PMD is writable
 *   2. a store sets the PMD's dirty bit and nothing else
 *   3. the mapping goes; clean pages of the cache are dropped
 * Expect: the store is there. (It once was lost: zapping a PMD forgot its dirty bit. Asked of a real 6.1.192: it is kept.)
 */
static void a_dirty_PMD_keeps_its_page_s_contents(void **state)
{
	struct inode *inode;
	u64 r;

	(void)state;
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	r = map_file("/t/f", 0, H, RW, SHARED);
	load(r);
	assert_true(pmd_trans_huge(pmd_at(r)) && pmd_write(pmd_at(r)) && !pmd_dirty(pmd_at(r)));
	store(r + pages(5), 77);
	assert_false(PageDirty(compound_head(page_at(r))));
	assert_int_equal(do_munmap(current->mm, r, pages(H)), 0);
	lru_add_drain_all();
	ps_files_drop_pagecache(scene->machine->files);
	inode = open_file("/t/f");
	assert_int_equal(do_mmap(current->mm, r, pages(H), RW, SHARED, inode, 0), 0);
	iput(inode);
	assert_int_equal(load(r + pages(5)), 77);
}

/* ---- DONTNEED */

static void dontneed_gives_back_what_a_fault_can_make_again(void **state)
{
	u64 r = map_filled(4, 1), h = map_huge_filled(2, 2), s = map_shared(4), f = map_file("/d/f", 0, 4, RW, SHARED),
	    p = map_file("/d/f", 0, 4, RW, 0);

	(void)state;
	fill(s, 4, 3);
	fill(f, 4, 4);
	fill(p, 2, 5);
	assert_int_equal(do_madvise(current->mm, r + pages(1), pages(2), PS_MADV_DONTNEED), 0);
	assert_int_equal(do_madvise(current->mm, h, pages(H), PS_MADV_DONTNEED), 0);
	assert_int_equal(do_madvise(current->mm, h + pages(H + 3), pages(1), PS_MADV_DONTNEED), 0);
	assert_int_equal(do_madvise(current->mm, s, pages(4), PS_MADV_DONTNEED), 0);
	assert_int_equal(do_madvise(current->mm, f, pages(4), PS_MADV_DONTNEED), 0);
	assert_int_equal(do_madvise(current->mm, p, pages(4), PS_MADV_DONTNEED), 0);
	expect_sound();
	assert_int_equal(load(r), word_of(1, 0));
	expect_zero(r + pages(1), 2);
	expect_zero(h, H);
	assert_int_equal(load(h + pages(H + 3)), 0);
	assert_int_equal(load(h + pages(H + 4)), word_of(2, H + 4));
	expect_filled(s, 4, 3);
	expect_filled(f, 4, 4);
	expect_filled(p, 4, 4); /* the copies are gone, the file shows */
}

/* ---- truncation and holes */

/* Mapped by two processes, shared and private. Expect: gone everywhere beyond the end; private copies too. */
static void truncation_unmaps_from_everybody(void **state)
{
	u64 f = map_file("/t/f", 0, 8, RW, SHARED), p = map_file("/t/f", 0, 8, RW, 0), word;
	struct task_struct *a = current, *b;
	struct inode *inode = open_file("/t/f");

	(void)state;
	fill(f, 8, 1);
	fill(p + pages(4), 4, 2);
	b = fork_task("B");
	as(b);
	expect_filled(f, 8, 1);
	assert_int_equal(file_truncate(inode, pages(3)), 0);
	assert_int_equal(try_load(f + pages(3), &word), -ENXIO);
	assert_int_equal(try_load(p + pages(4), &word), -ENXIO);
	as(a);
	assert_int_equal(try_load(f + pages(5), &word), -ENXIO);
	expect_filled(f, 3, 1);
	file_extend(inode, pages(8));
	expect_filled(f, 3, 1);
	expect_zero(f + pages(3), 5);
	iput(inode);
}

/* A hole punched into the file: shared mappings show zeroes, private copies stay. */
static void a_hole_spares_private_copies(void **state)
{
	u64 f = map_file("/t/f", 0, 8, RW, SHARED), p = map_file("/t/f", 0, 8, RW, 0);

	(void)state;
	fill(f, 8, 1);
	store(p + pages(2), 99);
	load(p + pages(3));
	assert_int_equal(do_madvise(current->mm, f + pages(2), pages(2), PS_MADV_REMOVE), 0);
	expect_zero(f + pages(2), 2);
	assert_int_equal(load(p + pages(2)), 99);
	assert_int_equal(load(p + pages(3)), 0);
	assert_int_equal(load(f + pages(4)), word_of(1, 4));
}

/* One page of the cache is unmapped from all, its neighbours stay mapped. */
static void one_page_is_unmapped_from_everybody(void **state)
{
	u64 f = map_file("/t/f", 0, 4, RW, SHARED), g = map_file("/t/f", 0, 4, RW, SHARED);
	struct page *page;

	(void)state;
	fill(f, 4, 1);
	expect_filled(g, 4, 1);
	page = page_at(f + pages(1));
	lock_page(page);
	unmap_mapping_page(page);
	assert_false(page_mapped(page));
	unlock_page(page);
	assert_true(pte_none(pte_at(f + pages(1))) && pte_none(pte_at(g + pages(1))));
	assert_true(pte_present(pte_at(f)) && pte_present(pte_at(g + pages(2))));
	expect_filled(g, 4, 1);
}

/* ---- under migration */

/* The migrator finds nothing to restore; the page is freed when he lets go. */
static void what_is_under_migration_can_be_unmapped(void **state)
{
	u64 r = map_filled(2, 1), h = map_huge_filled(1, 2), before;
	struct task_struct *a = current, *migrator = scene_task("migrator", 1);
	struct page *small = page_at(r), *huge = page_at(h);

	(void)state;
	as(migrator);
	lru_add_drain_all();
	before = free_pages();
	get_page(small);
	get_page(huge);
	lock_page(small);
	lock_page_nested(huge);
	try_to_migrate(small, 0, NULL);
	try_to_migrate(huge, 0, NULL);
	as(a);
	assert_int_equal(do_munmap(a->mm, r, pages(1)), 0);
	assert_int_equal(do_munmap(a->mm, h, pages(H)), 0);
	assert_int_equal(get_mm_counter(a->mm, MM_ANONPAGES), 1);
	as(migrator);
	assert_int_equal(page_ref_count(small), 1);
	remove_migration_ptes(small, small, false);
	remove_migration_ptes(huge, huge, false);
	assert_false(page_mapped(small) || page_mapped(huge));
	unlock_page(huge);
	unlock_page(small);
	put_page(small);
	put_page(huge);
	assert_int_equal(free_pages(), before + 1 + H);
	as(a);
}

/* ---- at the same time */

/* A thread of the current address space with a fiber of its own. */
static struct task_struct *racer(const char *name, int cpu, void (*fn)(void *), void *arg)
{
	struct task_struct *task = ps_task_new(scene->rt, name, fn, arg);

	assert_non_null(task);
	task->machine = scene->machine;
	task->stats = scene->stats;
	task->cpu = cpu;
	task->mm = current->mm;
	task->now = current->now;
	return task;
}

/* Lets the racers run to their ends. */
static void run_racers(struct task_struct *a, struct task_struct *b)
{
	struct task_struct *self = current;

	ps_task_leave();
	ps_runtime_run(scene->rt, UINT64_MAX);
	ps_task_enter(self);
	ps_task_free(a);
	ps_task_free(b);
}

struct race {
	u64 addr, nr, other;
	struct page *page;
	ps_ns_t start, end[2];
	int left;
};

static void unmaps(void *arg)
{
	struct race *race = arg;

	do_munmap(current->mm, race->addr, pages(race->nr));
	race->end[0] = current->now;
}

static void faults_meanwhile(void *arg)
{
	struct race *race = arg;

	ps_sleep_until(race->start + 2000);
	ps_mmu_access(race->other, true, NULL);
	race->end[1] = current->now;
}

/*
 *   1. a thread unmaps 4096 pages
 *   2. another one, as soon as that has begun, touches other memory
 * Expect: it need not wait until the pages are gone: once the VMAs are out of the tree, munmap holds mmap_lock for reading.
 */
static void others_fault_while_munmap_lets_the_pages_go(void **state)
{
	struct race race = { .nr = 4096 };
	struct mm_struct *mm = current->mm;

	(void)state;
	race.addr = map_filled(race.nr, 1);
	race.other = map(1);
	race.start = current->now;
	run_racers(racer("munmap", 0, unmaps, &race), racer("fault", 1, faults_meanwhile, &race));
	assert_true(race.end[0] - race.start > 100000);
	assert_in_range(race.end[1], race.start + 2000, race.start + (race.end[0] - race.start) / 2);
	assert_null(vma_lookup(mm, race.addr));
	assert_non_null(page_at(race.other));
}

static void takes_the_page_away(void *arg)
{
	struct race *race = arg;

	lock_page(race->page);
	unmap_mapping_page(race->page);
	race->left += page_mapped(race->page) != 0;
	unlock_page(race->page);
}

static void splits(void *arg)
{
	struct race *race = arg;

	mmap_read_lock(current->mm);
	split_huge_pmd_address(vma_lookup(current->mm, race->addr), race->addr, false, NULL);
	mmap_read_unlock(current->mm);
}

/*
 *   A huge page of a file, mapped by a PMD. One thread takes the mapping away (munmap, or a split of the PMD, which for a file
 *   leaves nothing), in steps: clear the PMD, ..., uncount. Another one calls unmap_mapping_page() meanwhile, which finds the
 *   PMD empty already.
 * Expect: when it comes back, the mapping has been uncounted, in every order of their steps.
 */
static void a_page_is_unmapped_though_another_has_only_begun_to(void **state)
{
	u32 seed;

	(void)state;
	for (seed = 1; seed <= 400; seed++) {
		const struct scene_settings settings = {
			.machine = "tiny,0=2M,1=2M",
			.runtime = { .shuffle = 30000, .seed = seed },
		};
		struct race race = { .nr = 0 };
		struct inode *inode;

		assert_int_equal(scene_fault_open(&settings), 0);
		start("A", 0);
		scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
		race.nr = huge_pages();
		inode = open_file("/t/h");
		race.addr = map_file("/t/h", 0, race.nr, RW, SHARED);
		assert_int_equal(do_madvise(current->mm, race.addr, pages(race.nr), PS_MADV_HUGEPAGE), 0);
		store(race.addr, 1);
		assert_true(pmd_trans_huge(pmd_at(race.addr)));
		race.page = page_at(race.addr);
		get_page(race.page);
		run_racers(racer("zap", 0, seed % 2 ? unmaps : splits, &race),
			   racer("unmap", 1, takes_the_page_away, &race));
		put_page(race.page);
		iput(inode);
		if (race.left)
			fail_msg("seed %u: still mapped", seed);
		expect_sound();
		scene_close();
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(unmapped_pages_are_freed),
		test(a_part_is_taken_out),
		test(a_shared_page_lives_until_the_last_unmaps_it),
		test(no_cpu_keeps_a_translation),
		test(a_gather_that_is_full_is_emptied),
		test(dirty_and_young_entries_are_carried_over),
		test(a_dirty_PMD_keeps_its_page_s_contents),
		test(dontneed_gives_back_what_a_fault_can_make_again),
		test(truncation_unmaps_from_everybody),
		test(a_hole_spares_private_copies),
		test(one_page_is_unmapped_from_everybody),
		test(what_is_under_migration_can_be_unmapped),
		test(others_fault_while_munmap_lets_the_pages_go),
		cmocka_unit_test(a_page_is_unmapped_though_another_has_only_begun_to),
	};

	return cmocka_run_group_tests_name("unmapping", tests, NULL, NULL);
}
