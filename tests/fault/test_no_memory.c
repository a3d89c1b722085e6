/* SPDX-License-Identifier: MIT */
/*
 * Without memory: every allocation of host memory in a table of operations fails once, and every operation is tried on a
 * machine whose simulated memory is full. Each must end in a clear error, with nothing broken, nothing leaked, and no word
 * lost.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/compound.h>
#include <pagesim/page_alloc.h>

/* ---- host memory */

/*
 *      r   12 pages, written         h   2 huge pages, written         f   4 pages of a file, written
 *      B   a child that shares them
 */
static struct {
	u64 r, h, f, spare;
	u64 moved; /* where an operation has put r[4..8), or 0 */
	struct task_struct *a, *b;
	struct page *pinned;
} it;

static int op_mmap(void)
{
	return do_mmap(current->mm, it.spare, pages(4), RW, 0, NULL, 0);
}

static int op_mmap_shared(void)
{
	return do_mmap(current->mm, it.spare, pages(4), RW, SHARED, NULL, 0);
}

static int op_mmap_file(void)
{
	struct inode *inode;
	int error = ps_file_open(scene->machine->files, "/d/new", true, &inode);

	if (error)
		return error;
	file_extend(inode, pages(4));
	error = do_mmap(current->mm, it.spare, pages(4), RW, SHARED, inode, 0);
	iput(inode);
	return error;
}

static int op_mmap_over(void)
{
	/* In the middle: two splits. */
	int error = do_mmap(current->mm, it.r + pages(4), pages(4), RW, MM_MAP_FIXED, NULL, 0);

	if (!error)
		it.moved = it.r; /* gone */
	return error;
}

static int op_touch(void)
{
	int error = do_mmap(current->mm, it.spare, pages(4), RW, 0, NULL, 0);

	return error ? error : try_store(it.spare, 1);
}

static int op_touch_huge(void)
{
	int error = do_mmap(current->mm, it.spare, pages(huge_pages()), RW, 0, NULL, 0);

	if (!error)
		error = do_madvise(current->mm, it.spare, pages(huge_pages()), PS_MADV_HUGEPAGE);
	return error ? error : try_store(it.spare, 1);
}

static int op_read_huge(void)
{
	int error = do_mmap(current->mm, it.spare, pages(huge_pages()), RW, 0, NULL, 0);
	u64 word;

	if (!error)
		error = do_madvise(current->mm, it.spare, pages(huge_pages()), PS_MADV_HUGEPAGE);
	return error ? error : try_load(it.spare, &word);
}

static int op_copy(void)
{
	int error;

	as(it.b); /* whose VMA has an anon_vma of its own already, or not */
	error = try_store(it.r + pages(1), 77);
	as(it.a);
	return error;
}

static int op_copy_huge(void)
{
	int error;

	as(it.b);
	error = try_store(it.h + pages(1), 77);
	as(it.a);
	return error;
}

static int op_fork(void)
{
	return try_fork_task("C") ? 0 : -ENOMEM;
}

static int op_fork_pinned(void)
{
	return try_fork_task("C") ? 0 : -ENOMEM;
}

static int op_munmap(void)
{
	int error = do_munmap(current->mm, it.r + pages(4), pages(4));

	if (!error)
		it.moved = it.r;
	return error;
}

static int op_munmap_huge(void)
{
	return do_munmap(current->mm, it.h + pages(huge_pages() + 3), pages(2));
}

static int op_mprotect(void)
{
	return do_mprotect(current->mm, it.r + pages(4), pages(4), RO);
}

static int op_madvise(void)
{
	return do_madvise(current->mm, it.r + pages(4), pages(4), PS_MADV_DONTFORK);
}

static int op_mlock(void)
{
	return do_mlock(current->mm, it.r + pages(4), pages(4));
}

static int op_mremap(void)
{
	int error = do_mremap(current->mm, it.r + pages(4), pages(4), it.spare + pages(1));

	if (!error)
		it.moved = it.spare + pages(1);
	return error;
}

static int op_mremap_huge(void)
{
	/* To an odd place: tables are needed, and the PMD's own one. */
	int error = do_mremap(current->mm, it.h, pages(huge_pages()), it.spare + pages(1));

	if (!error)
		error = do_mremap(current->mm, it.spare + pages(1), pages(huge_pages()), it.h);
	return error;
}

static int op_pin(void)
{
	struct page *page;
	long got;

	as(it.b);
	got = get_user_pages(current->mm, it.r, 1, FOLL_PIN, &page);
	if (got == 1)
		put_user_page(page, FOLL_PIN, false);
	as(it.a);
	return got == 1 ? 0 : (int)got;
}

static int op_file_fault(void)
{
	u64 word;

	/* Dropped from memory, read again. */
	return try_load(it.f, &word);
}

static int op_brk(void)
{
	return do_brk(current->mm, it.spare, it.spare, it.spare + pages(3));
}

static const struct {
	const char *name;
	int (*run)(void);
	int clear[3]; /* what it may say besides -ENOMEM */
} operations[] = {
	{ "mmap", op_mmap, { 0 } },
	{ "mmap shared", op_mmap_shared, { 0 } },
	{ "mmap of a file", op_mmap_file, { 0 } },
	{ "mmap over the middle", op_mmap_over, { 0 } },
	{ "first touch", op_touch, { 0 } },
	{ "first touch of huge memory", op_touch_huge, { 0 } },
	{ "first read of huge memory", op_read_huge, { 0 } },
	{ "copy on write", op_copy, { 0 } },
	{ "copy on write of a huge page", op_copy_huge, { 0 } },
	{ "fork", op_fork, { 0 } },
	{ "fork with a pinned page", op_fork_pinned, { 0 } },
	{ "munmap of the middle", op_munmap, { 0 } },
	{ "munmap within a huge page", op_munmap_huge, { 0 } },
	{ "mprotect of the middle", op_mprotect, { 0 } },
	{ "madvise of the middle", op_madvise, { 0 } },
	{ "mlock of the middle", op_mlock, { -EAGAIN } },
	{ "mremap of the middle", op_mremap, { 0 } },
	{ "mremap of a huge page", op_mremap_huge, { 0 } },
	{ "a pin that unshares", op_pin, { 0 } },
	{ "a file fault", op_file_fault, { -ENXIO } },
	{ "brk", op_brk, { 0 } },
};

static void prepare(unsigned int op)
{
	struct inode *inode;

	scene_fault_setup("tiny,0=2M,1=2M");
	memset(&it, 0, sizeof(it));
	it.a = start("A", 0);
	it.r = map_filled(12, 1);
	it.h = map_huge_filled(2, 2);
	it.f = map_file("/d/f", 0, 4, RW, SHARED);
	fill(it.f, 4, 3);
	it.b = fork_task("B");
	it.spare = place(3 * huge_pages());
	if (operations[op].run == op_file_fault) {
		inode = open_file("/d/f");
		file_fsync(inode);
		assert_int_equal(do_madvise(current->mm, it.f, pages(4), PS_MADV_DONTNEED), 0);
		lru_add_drain_all();
		file_fadvise_dontneed(inode, 0, 3);
		assert_int_equal(inode->i_mapping->nrpages, 0);
		iput(inode);
	}
	if (operations[op].run == op_fork_pinned)
		it.pinned = grab(it.r + pages(2), FOLL_PIN | FOLL_WRITE);
}

static void expect_words(bool done)
{
	u64 i;

	(void)done;
	as(it.a);
	for (i = 0; i < 12; i++) {
		u64 addr = it.r + pages(i);

		if (i >= 4 && i < 8 && it.moved) {
			if (it.moved == it.r)
				continue;
			addr = it.moved + pages(i - 4);
		}
		assert_int_equal(load(addr), word_of(1, i));
	}
	expect_filled(it.h, huge_pages(), 2);
	expect_filled(it.f, 4, 3);
	as(it.b);
	assert_int_equal(load(it.r), word_of(1, 0));
	assert_int_equal(load(it.r + pages(11)), word_of(1, 11));
	as(it.a);
}

static void every_failing_allocation_is_survived(void **state)
{
	unsigned int op;
	u64 n, failures = 0;

	(void)state;
	for (op = 0; op < ARRAY_SIZE(operations); op++) {
		for (n = 1;; n++) {
			bool done;
			int error;

			prepare(op);
			ps_alloc_fail_nth(n);
			error = operations[op].run();
			done = ps_alloc_fail_nth(0);
			if (done && error)
				fail_msg("%s: %d though nothing failed", operations[op].name, error);
			if (error && error != -ENOMEM && error != operations[op].clear[0])
				fail_msg("%s, allocation %lu: %d", operations[op].name, (unsigned long)n, error);
			failures += !done;
			expect_words(!error);
			expect_sound();
			if (it.pinned)
				drop(it.pinned, FOLL_PIN);
			scene_close();
			if (done)
				break;
		}
	}
	assert_true(failures > 60);
}

/*
 *   1. a part in the middle of a mapping is moved away
 *   2. the pages have moved; cutting the old mapping in two, to unmap its middle, fails for want of memory
 * Expect: success all the same, for the pages are at the new place (6.1: "unable to split vma, just get accounts right"); the
 * old place is left mapped and empty.
 */
static void mremap_succeeds_though_the_old_place_stays(void **state)
{
	u64 n;
	bool stayed = false;

	(void)state;
	for (n = 1; !stayed; n++) {
		int error;

		prepare(0);
		ps_alloc_fail_nth(n);
		error = op_mremap();
		assert_false(ps_alloc_fail_nth(0)); /* it is found before the allocations end */
		stayed = !error && vma_at(it.r + pages(4));
		if (stayed)
			assert_int_equal(load(it.r + pages(4)), 0);
		expect_words(!error);
		scene_close();
	}
}

/* Takes all page tables the machine has in store but `left`. Return: how many were taken. */
static u64 take_tables(pte_t **tables, u64 max, u64 left)
{
	u64 n = 0;

	ps_alloc_fail_nth(1);
	while (n < max && (tables[n] = pte_alloc_one(&current->mm->pt)))
		n++;
	assert_true(ps_alloc_fail_nth(0) == false && n < max);
	while (left-- && n)
		pte_free(&current->mm->pt, tables[--n]);
	return n;
}

/* What the move is about: small pages by the table, or huge pages, to a place that is as far into a table or not. */
struct move {
	const char *name;
	bool huge;
	u64 shift;
};

/*
 *   old   [ table 0 ][ table 1 ] ... [ table 5 ]        entries clean for soft-dirty
 *   new          [ table 0 ][ table 1 ] ...             tables for it: so many as there are, and then no more
 *
 * Expect: whether the move ends or not, every word is where the call says, the other place is empty, and nothing is
 * leaked. A move that ran out of memory half way has carried entries there and back: they have become soft-dirty.
 */
static void mremap_out_of_memory_moves_everything_back(void **state)
{
	static const struct move moves[] = {
		{ "small pages, aligned", false, 0 },
		{ "small pages, not aligned", false, 1 },
		{ "huge pages, aligned", true, 0 },
		{ "huge pages, not aligned", true, 1 },
	};
	static pte_t *tables[4096];
	unsigned int i;
	u64 left, n, back = 0;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(moves); i++) {
		for (left = 0; left < 14; left++) {
			for (n = 1;; n++) {
				u64 len, from, to, taken, at, moved_back = 0;
				struct task_struct *b;
				bool done;
				int error;

				scene_fault_setup("tiny,0=2M,1=2M");
				start("A", 0);
				len = 6 * huge_pages();
				from = moves[i].huge ? map_huge_filled(6, 4) : map_filled(len, 4);
				to = place(len + 1) + pages(moves[i].shift);
				b = fork_task("B");
				clear_soft_dirty(current->mm);
				taken = take_tables(tables, ARRAY_SIZE(tables), left);
				ps_alloc_fail_nth(n);
				error = do_mremap(current->mm, from, pages(len), to);
				done = ps_alloc_fail_nth(0);
				while (taken)
					pte_free(&current->mm->pt, tables[--taken]);
				if (error && error != -ENOMEM)
					fail_msg("%s, %lu tables, allocation %lu: %d", moves[i].name,
						 (unsigned long)left, (unsigned long)n, error);
				for (at = from; error && at < from + pages(len); at += PAGE_SIZE)
					moved_back += pmd_table(pmd_at(at)) && pte_soft_dirty(pte_at(at));
				back += error && moved_back && moved_back < len;
				assert_true(!done || !error);
				expect_filled(error ? from : to, len, 4);
				if (error)
					assert_null(vma_lookup(current->mm, to));
				as(b);
				expect_filled(from, len, 4);
				expect_sound();
				scene_close();
				if (done)
					break;
			}
		}
	}
	assert_true(back >= 10);
}

/* ---- simulated memory */

/* Takes every page there is. Return: how many. */
static u64 fill_memory(u64 addr)
{
	u64 n = 0;

	while (!try_store(addr + pages(n), word_of(9, n)))
		n++;
	return n;
}

static void a_full_machine_says_so_and_goes_on_when_there_is_room(void **state)
{
	struct page *page, *pinned;
	struct task_struct *a, *b;
	struct ps_page_source source;
	struct inode *inode;
	u64 r, ro, f, filler, n, word;

	(void)state;
	scene_fault_setup("tiny");
	a = start("A", 0);
	r = map_filled(4, 1);
	ro = map(4);
	f = map_file("/d/f", 0, 8, RW, SHARED);
	store(f, 5);
	b = fork_task("B");
	store(r + pages(3), 42);
	pinned = grab(r + pages(3), FOLL_PIN | FOLL_WRITE);
	filler = map_at(place(140), 140, RW, 0);
	n = fill_memory(filler);
	assert_true(n > 60 && n < 140);

	assert_int_equal(try_store(filler + pages(n), 1), -ENOMEM);
	assert_int_equal(try_store(r, 1), -ENOMEM); /* copy on write */
	assert_int_equal(load(r), word_of(1, 0));
	assert_int_equal(load(ro), 0); /* the zero page takes none */
	assert_int_equal(try_store(ro, 1), -ENOMEM);
	assert_int_equal(try_load(f + pages(7), &word), -ENOMEM);
	assert_int_equal(load(f), 5);
	assert_int_equal(get_user_pages(a->mm, filler + pages(n), 1, FOLL_GET | FOLL_WRITE, &page), -ENOMEM);
	assert_int_equal(do_mlock(a->mm, filler + pages(n), pages(1)), -EAGAIN);
	assert_int_equal(do_munlock(a->mm, filler + pages(n), pages(1)), 0);
	assert_int_equal(do_madvise(a->mm, filler + pages(n), pages(1), PS_MADV_POPULATE_WRITE), -ENOMEM);
	assert_null(try_fork_task("C")); /* the pinned page must be copied */
	inode = open_file("/t/new");
	ps_policy_page_source(&source);
	assert_int_equal(file_write_page(inode, 0, 1, &source), -ENOMEM);
	iput(inode);
	expect_sound();
	expect_filled(filler, n, 9);

	/* Room again. */
	assert_int_equal(do_munmap(a->mm, filler, pages(40)), 0);
	store(r, 1);
	store(ro, 2);
	assert_int_equal(load(f + pages(7)), 0);
	assert_non_null(try_fork_task("C"));
	assert_int_equal(load(r), 1);
	drop(pinned, FOLL_PIN);
	as(b);
	expect_filled(r, 3, 1);
	as(a);
	scene_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failing_allocation_is_survived),
		cmocka_unit_test(mremap_succeeds_though_the_old_place_stays),
		cmocka_unit_test(mremap_out_of_memory_moves_everything_back),
		cmocka_unit_test(a_full_machine_says_so_and_goes_on_when_there_is_room),
	};

	return cmocka_run_group_tests_name("without memory", tests, NULL, NULL);
}
