/* SPDX-License-Identifier: MIT */
/*
 * The map of an address space: mmap, munmap, mprotect, madvise and mremap on random ranges against a model with one record per
 * page. VMAs must be the maximal runs of pages with equal attributes, no more, no less; and what is refused must be refused
 * with nothing changed. Then mremap of what is mapped, and brk.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/compound.h>
#include <pagesim/rng.h>

static int setup(void **state)
{
	(void)state;
	if (scene_fault_setup("tiny,0=2M,1=2M"))
		return -1;
	start("A", 0);
	return 0;
}

/* ---- the model */

#define SPACE 256 /* pages of the address space */

struct cell {
	bool mapped;
	u64 flags; /* VM_*, without soft-dirty */
	const void *file;
	u64 pgoff;
};

static struct cell cells[SPACE];

static bool continues(const struct cell *a, const struct cell *b)
{
	return a->mapped && b->mapped && a->flags == b->flags && a->file == b->file && b->pgoff == a->pgoff + 1;
}

static void print_maps(void)
{
	struct vm_area_struct *vma;

	for_each_vma(current->mm, vma) {
		print_error("  [%lu,%lu) flags %#lx file %p pgoff %lu\n", (unsigned long)(vma->vm_start >> PAGE_SHIFT),
			    (unsigned long)(vma->vm_end >> PAGE_SHIFT), (unsigned long)vma->vm_flags,
			    (void *)vma->vm_mapping, (unsigned long)vma->vm_pgoff);
	}
}

/* @maximal: VMAs must be as few as can be. With pages in them, families of anon_vmas may keep neighbours apart. */
static void expect_maps(const char *what, bool maximal)
{
	struct vm_area_struct *vma = find_vma(current->mm, 0);
	u64 i = 0;

	while (i < SPACE || vma) {
		u64 first, last, at;

		while (i < SPACE && !cells[i].mapped)
			i++;
		if (i == SPACE) {
			if (vma) {
				print_maps();
				fail_msg("%s: a VMA too many at page %lu", what,
					 (unsigned long)(vma->vm_start >> PAGE_SHIFT));
			}
			return;
		}
		first = i;
		last = vma ? vma->vm_end >> PAGE_SHIFT : 0;
		if (!vma || vma->vm_start >> PAGE_SHIFT != first) {
			print_maps();
			fail_msg("%s: no VMA begins at page %lu", what, (unsigned long)first);
		}
		for (at = first; at < last; at++) {
			if (!cells[at].mapped || (vma->vm_flags & ~VM_SOFTDIRTY) != cells[at].flags ||
			    vma->vm_mapping != cells[at].file || linear_page_index(vma, pages(at)) != cells[at].pgoff) {
				print_maps();
				fail_msg("%s: page %lu is not as it should be", what, (unsigned long)at);
			}
		}
		if (maximal && last < SPACE && continues(&cells[last - 1], &cells[last])) {
			print_maps();
			fail_msg("%s: not merged at page %lu", what, (unsigned long)last);
		}
		i = last;
		vma = vma_next(vma);
	}
}

static u64 flags_of(unsigned int prot, bool shared)
{
	u64 flags = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

	flags |= prot & MM_PROT_READ ? VM_READ : 0;
	flags |= prot & MM_PROT_WRITE ? VM_WRITE : 0;
	flags |= shared ? VM_SHARED | VM_MAYSHARE : 0;
	return (flags & (VM_SHARED | VM_WRITE)) == VM_WRITE ? flags | VM_ACCOUNT : flags;
}

static void pick_range(struct ps_rng *rng, u64 *first, u64 *n)
{
	/* Few distinct bounds, so that things meet. */
	*first = 8 + ps_rng_below(rng, 40) * (ps_rng_below(rng, 3) ? 4 : 1);
	*n = 1 + ps_rng_below(rng, ps_min(24ULL, SPACE - *first));
}

static void random_step(struct ps_rng *rng, char *what, size_t size)
{
	static const unsigned int prots[] = { RW, RO, MM_PROT_NONE, RW };
	struct mm_struct *mm = current->mm;
	unsigned int prot = prots[ps_rng_below(rng, 4)], flags;
	u64 first, n, i, to, off;
	struct inode *inode;
	bool shared;
	int ret;

	pick_range(rng, &first, &n);
	switch (ps_rng_below(rng, 8)) {
	case 0:
	case 1:
		snprintf(what, size, "mmap [%lu,+%lu) prot %u", (unsigned long)first, (unsigned long)n, prot);
		assert_int_equal(do_mmap(mm, pages(first), pages(n), prot, MM_MAP_FIXED, NULL, 0), 0);
		for (i = first; i < first + n; i++)
			cells[i] = (struct cell){ true, flags_of(prot, false), NULL, i };
		break;
	case 2:
		off = first % 7;
		shared = ps_rng_below(rng, 2);
		inode = open_file(ps_rng_below(rng, 2) ? "/d/f" : "/t/g");
		snprintf(what, size, "mmap [%lu,+%lu) file at %lu prot %u %s", (unsigned long)first, (unsigned long)n,
			 (unsigned long)off, prot, shared ? "shared" : "private");
		file_extend(inode, pages(off + n));
		flags = MM_MAP_FIXED | (shared ? MM_MAP_SHARED : 0);
		assert_int_equal(do_mmap(mm, pages(first), pages(n), prot, flags, inode, off), 0);
		for (i = first; i < first + n; i++)
			cells[i] = (struct cell){ true, flags_of(prot, shared), inode->i_mapping, off + i - first };
		iput(inode);
		break;
	case 3:
		snprintf(what, size, "munmap [%lu,+%lu)", (unsigned long)first, (unsigned long)n);
		assert_int_equal(do_munmap(mm, pages(first), pages(n)), 0);
		memset(&cells[first], 0, n * sizeof(cells[0]));
		break;
	case 4:
	case 5:
		snprintf(what, size, "mprotect [%lu,+%lu) %u", (unsigned long)first, (unsigned long)n, prot);
		ret = do_mprotect(mm, pages(first), pages(n), prot);
		for (i = first; i < first + n && cells[i].mapped; i++) {
			u64 was = cells[i].flags;

			cells[i].flags = (was & ~VM_ACCESS_FLAGS) | (flags_of(prot, true) & VM_ACCESS_FLAGS);
			if ((cells[i].flags & VM_WRITE) && !(was & (VM_ACCOUNT | VM_WRITE | VM_SHARED)))
				cells[i].flags |= VM_ACCOUNT;
		}
		assert_int_equal(ret, i < first + n ? -ENOMEM : 0);
		break;
	case 6: {
		static const struct {
			enum ps_madvice advice;
			u64 clear, set;
		} table[] = {
			{ PS_MADV_DONTFORK, 0, VM_DONTCOPY },
			{ PS_MADV_DOFORK, VM_DONTCOPY, 0 },
			{ PS_MADV_HUGEPAGE, VM_NOHUGEPAGE, VM_HUGEPAGE },
			{ PS_MADV_NOHUGEPAGE, VM_HUGEPAGE, VM_NOHUGEPAGE },
		};
		u64 k = ps_rng_below(rng, ARRAY_SIZE(table));
		bool hole = false;

		snprintf(what, size, "madvise [%lu,+%lu) %d", (unsigned long)first, (unsigned long)n, table[k].advice);
		ret = do_madvise(mm, pages(first), pages(n), table[k].advice);
		for (i = first; i < first + n; i++) {
			hole |= !cells[i].mapped;
			if (cells[i].mapped)
				cells[i].flags = (cells[i].flags & ~table[k].clear) | table[k].set;
		}
		assert_int_equal(ret, hole ? -ENOMEM : 0);
		break;
	}
	default:
		to = 8 + ps_rng_below(rng, SPACE - 8 - n);
		snprintf(what, size, "mremap [%lu,+%lu) to %lu", (unsigned long)first, (unsigned long)n,
			 (unsigned long)to);
		ret = do_mremap(mm, pages(first), pages(n), pages(to));
		if (!cells[first].mapped) {
			assert_int_equal(ret, -EFAULT);
			break;
		}
		if (first + n > to && to + n > first) {
			assert_int_equal(ret, -EINVAL);
			break;
		}
		/* What is at the new place goes first, even if the rest then fails. */
		memset(&cells[to], 0, n * sizeof(cells[0]));
		for (i = first; i + 1 < first + n && continues(&cells[i], &cells[i + 1]);)
			i++;
		assert_int_equal(ret, i + 1 < first + n ? -EFAULT : 0);
		if (ret)
			break;
		for (i = 0; i < n; i++) {
			cells[to + i] = cells[first + i];
			if (!cells[to + i].file)
				cells[to + i].pgoff = to + i; /* never touched: it forgets where it was born */
			memset(&cells[first + i], 0, sizeof(cells[0]));
		}
		break;
	}
}

static void vmas_are_the_maximal_runs_of_equal_pages(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 60; seed++) {
		struct ps_rng rng;
		unsigned int step;
		char what[160];

		scene_fault_setup("tiny,0=2M,1=2M");
		start("A", 0);
		memset(cells, 0, sizeof(cells));
		ps_rng_init(&rng, seed);
		for (step = 0; step < 250; step++) {
			char named[200];

			random_step(&rng, what, sizeof(what));
			snprintf(named, sizeof(named), "seed %lu step %u: %s", (unsigned long)seed, step, what);
			expect_maps(named, true);
		}
		scene_close();
	}
}

/* ---- mmap's arguments */

static void what_cannot_be_mapped_is_refused(void **state)
{
	static const struct {
		const char *name;
		u64 addr, len;
		unsigned int flags;
		int error;
	} table[] = {
		{ "unaligned", 4097, PAGE_SIZE, 0, -EINVAL },
		{ "nothing", PAGE_SIZE, 0, 0, -EINVAL },
		{ "beyond the end", 256ULL << PAGE_SHIFT, PAGE_SIZE, 0, -ENOMEM },
		{ "across the end", 255ULL << PAGE_SHIFT, 2 * PAGE_SIZE, 0, -ENOMEM },
		{ "more than there is", 0, 1ULL << 60, 0, -ENOMEM },
		{ "length that wraps", PAGE_SIZE, ~0ULL - 100, 0, -ENOMEM },
		{ "on something, no-replace", 20 << PAGE_SHIFT, PAGE_SIZE, MM_MAP_FIXED_NOREPLACE, -EEXIST },
		{ "on something, without asking", 20 << PAGE_SHIFT, PAGE_SIZE, 0, -ENOMEM },
	};
	unsigned int i;

	(void)state;
	map_at(pages(20), 4, RW, 0);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		int error = do_mmap(current->mm, table[i].addr, table[i].len, RW, table[i].flags, NULL, 0);

		if (error != table[i].error)
			fail_msg("%s: %d", table[i].name, error);
		assert_int_equal(current->mm->map_count, 1);
	}
	/* A length is rounded up. */
	assert_int_equal(do_mmap(current->mm, pages(40), 1, RW, 0, NULL, 0), 0);
	assert_int_equal(vma_at(pages(40))->vm_end, pages(41));
	assert_int_equal(do_munmap(current->mm, 1, PAGE_SIZE), -EINVAL);
	assert_int_equal(do_munmap(current->mm, pages(20), 0), -EINVAL);
	assert_int_equal(do_munmap(current->mm, pages(100), pages(4)), 0); /* nothing there: fine */
	assert_int_equal(do_mprotect(current->mm, 1, PAGE_SIZE, RO), -EINVAL);
	assert_int_equal(do_mprotect(current->mm, pages(20), 0, RO), 0);
	assert_int_equal(do_mprotect(current->mm, pages(20), ~0ULL & PAGE_MASK, RO), -ENOMEM);
}

static void replacing_a_mapping_unmaps_what_was_there(void **state)
{
	u64 r = map_filled(8, 1);

	(void)state;
	map_at(r + pages(2), 4, RW, MM_MAP_FIXED);
	assert_int_equal(load(r), word_of(1, 0));
	expect_zero(r + pages(2), 4);
	assert_int_equal(load(r + pages(6)), word_of(1, 6));
	assert_int_equal(current->mm->map_count, 1);
}

/* ---- mremap of memory in use */

/* Every distance from a boundary: tables are moved whole, entries one by one, huge pages whole or split. */
static void moved_memory_keeps_its_words(void **state)
{
	u64 from, to, n;

	(void)state;
	for (from = 16; from < 21; from++) {
		for (to = 80; to < 85; to++) {
			for (n = 1; n <= 13; n += 3) {
				map_at(pages(from), n, RW, 0);
				fill(pages(from), n, from);
				assert_int_equal(do_mremap(current->mm, pages(from), pages(n), pages(to)), 0);
				assert_null(vma_at(pages(from)));
				expect_filled(pages(to), n, from);
				expect_sound();
				assert_int_equal(do_munmap(current->mm, pages(to), pages(n)), 0);
			}
		}
	}
}

static void a_moved_huge_page_stays_huge_where_it_fits(void **state)
{
	u64 h = map_huge_filled(2, 1), H = huge_pages(), to = pages(128);
	struct page *head = compound_head(page_at(h));

	(void)state;
	assert_int_equal(do_mremap(current->mm, h, pages(2 * H), to), 0);
	assert_true(pmd_trans_huge(pmd_at(to)) && pmd_trans_huge(pmd_at(to + pages(H))));
	assert_true(pmd_soft_dirty(pmd_at(to)));
	assert_ptr_equal(page_at(to), head);
	expect_filled(to, 2 * H, 1);
	expect_sound();
	/* To an odd place: small entries of the same huge page. */
	assert_int_equal(do_mremap(current->mm, to, pages(2 * H), pages(161)), 0);
	assert_true(pmd_table(pmd_at(pages(161))));
	assert_ptr_equal(page_at(pages(161)), head);
	expect_filled(pages(161), 2 * H, 1);
	assert_true(PageHead(head));
}

/*
 * Expect: what was at the new place is gone; a shared mapping moves as well; entries that are moved one by one are soft-dirty
 * (those of a table moved whole are not looked at).
 */
static void the_new_place_is_cleared_first(void **state)
{
	u64 s = map_shared(3), d = map_filled(3, 9);

	(void)state;
	fill(s, 3, 1);
	clear_soft_dirty(current->mm);
	assert_false(pte_soft_dirty(pte_at(s)));
	assert_int_equal(do_mremap(current->mm, s, pages(3), d), 0);
	assert_true(pte_soft_dirty(pte_at(d)));
	expect_filled(d, 3, 1);
	store(d, 7);
	assert_int_equal(load(d), 7);
	assert_int_equal(vmstat("nr_anon_pages"), 0);
}

/* A part of a mapping moves: three pieces, each with its words; faults at the new place find their neighbours' anon_vma. */
static void a_part_is_moved_out_of_the_middle(void **state)
{
	u64 r = map_filled(12, 1), to = place(4);

	(void)state;
	assert_int_equal(do_mremap(current->mm, r + pages(4), pages(4), to), 0);
	assert_int_equal(current->mm->map_count, 3);
	assert_int_equal(load(r + pages(3)), word_of(1, 3));
	assert_int_equal(load(r + pages(8)), word_of(1, 8));
	assert_int_equal(load(to), word_of(1, 4));
	/* Back again: one mapping as before. */
	assert_int_equal(do_mremap(current->mm, to, pages(4), r + pages(4)), 0);
	assert_int_equal(current->mm->map_count, 1);
	expect_filled(r, 12, 1);
}

static void a_moved_page_is_found_by_its_page(void **state)
{
	u64 r = map_filled(4, 1), to = place(4) + pages(1);
	struct task_struct *a = current, *b;
	struct page *page = page_at(r + pages(2));
	u64 flags;

	(void)state;
	b = fork_task("B");
	assert_int_equal(do_mremap(current->mm, r, pages(4), to), 0);
	assert_int_equal(page_mapcount(page), 2);
	lock_page(page);
	page_referenced(page, &flags);
	unlock_page(page);
	assert_false(pte_young(pte_at(to + pages(2))));
	as(b);
	assert_false(pte_young(pte_at(r + pages(2))));
	as(a);
}

/* ---- brk */

static void the_heap_grows_and_shrinks(void **state)
{
	u64 heap = pages(64) + 100; /* brk values need no alignment */
	struct mm_struct *mm = current->mm;

	(void)state;
	assert_int_equal(do_brk(mm, heap, heap, heap + 10), 0);
	assert_int_equal(mm->map_count, 0); /* within the page the heap begins in: nothing */
	assert_int_equal(do_brk(mm, heap, heap + 10, heap + pages(4)), 0);
	fill(pages(65), 4, 1);
	assert_int_equal(do_brk(mm, heap, heap + pages(4), heap + pages(6)), 0);
	assert_int_equal(mm->map_count, 1);
	expect_filled(pages(65), 4, 1);
	assert_int_equal(do_brk(mm, heap, heap + pages(6), heap + pages(2)), 0);
	assert_int_equal(find_vma(mm, 0)->vm_end, pages(67));
	assert_int_equal(load(pages(66)), word_of(1, 1));
	/* Against another mapping: no. */
	map_at(pages(70), 1, RW, 0);
	assert_int_equal(do_brk(mm, heap, heap + pages(2), heap + pages(20)), -EEXIST);
	assert_int_equal(do_brk(mm, heap, heap + pages(2), heap), 0);
	assert_int_equal(mm->map_count, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vmas_are_the_maximal_runs_of_equal_pages),
		test(what_cannot_be_mapped_is_refused),
		test(replacing_a_mapping_unmaps_what_was_there),
		test(moved_memory_keeps_its_words),
		test(a_moved_huge_page_stays_huge_where_it_fits),
		test(the_new_place_is_cleared_first),
		test(a_part_is_moved_out_of_the_middle),
		test(a_moved_page_is_found_by_its_page),
		test(the_heap_grows_and_shrinks),
	};

	return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
