/* SPDX-License-Identifier: MIT */
/*
 * Faults on small pages: what each kind of memory gives to a first read and a first write, what an access to what is already
 * mapped costs, and copy on write.
 */
#include "fixtures/scene_fault.h"

static int setup(void **state)
{
	(void)state;
	if (scene_fault_setup("two-node"))
		return -1;
	start("A", 0);
	return 0;
}

/* ---- the first access */

enum memory { ANON, SHARED_ANON, TMPFS, TMPFS_PRIVATE, DISK, DISK_PRIVATE, HOLE };

static u64 map_kind(enum memory kind, unsigned int prot)
{
	switch (kind) {
	case ANON:
		return map_at(place(4), 4, prot, 0);
	case SHARED_ANON:
		return map_at(place(4), 4, prot, SHARED);
	case TMPFS:
		return map_file("/t/f", 0, 4, prot, SHARED);
	case TMPFS_PRIVATE:
		return map_file("/t/f", 0, 4, prot, 0);
	case DISK:
		return map_file("/d/f", 0, 4, prot, SHARED);
	case DISK_PRIVATE:
		return map_file("/d/f", 0, 4, prot, 0);
	default:
		return place(4);
	}
}

/* What is mapped afterwards. */
enum mapped { NOTHING, ZERO, OWN, CACHED };

static const struct first {
	const char *name;
	enum memory kind;
	unsigned int prot;
	bool write;
	int error;
	enum mapped mapped;
	bool writable, dirty; /* the entry */
	enum ps_fault_kind counted;
} firsts[] = {
	{ "anonymous, read", ANON, RW, false, 0, ZERO, false, false, PS_FAULT_ZERO },
	{ "anonymous, write", ANON, RW, true, 0, OWN, true, true, PS_FAULT_ANON },
	{ "anonymous read-only, read", ANON, RO, false, 0, ZERO, false, false, PS_FAULT_ZERO },
	{ "anonymous read-only, write", ANON, RO, true, -EFAULT, NOTHING, false, false, PS_NR_FAULT_KINDS },
	{ "anonymous PROT_NONE, read", ANON, 0, false, -EFAULT, NOTHING, false, false, PS_NR_FAULT_KINDS },
	{ "anonymous write-only, read", ANON, MM_PROT_WRITE, false, 0, ZERO, false, false, PS_FAULT_ZERO },
	{ "shared anonymous, read", SHARED_ANON, RW, false, 0, CACHED, true, false, PS_FAULT_FILE },
	{ "shared anonymous, write", SHARED_ANON, RW, true, 0, CACHED, true, true, PS_FAULT_FILE },
	{ "tmpfs, read", TMPFS, RW, false, 0, CACHED, true, false, PS_FAULT_FILE },
	{ "tmpfs, write", TMPFS, RW, true, 0, CACHED, true, true, PS_FAULT_FILE },
	{ "tmpfs read-only, write", TMPFS, RO, true, -EFAULT, NOTHING, false, false, PS_NR_FAULT_KINDS },
	{ "tmpfs private, read", TMPFS_PRIVATE, RW, false, 0, CACHED, false, false, PS_FAULT_FILE },
	{ "tmpfs private, write", TMPFS_PRIVATE, RW, true, 0, OWN, true, true, PS_FAULT_COW },
	{ "disk, read", DISK, RW, false, 0, CACHED, false, false, PS_FAULT_FILE },
	{ "disk, write", DISK, RW, true, 0, CACHED, true, true, PS_FAULT_FILE },
	{ "disk private, read", DISK_PRIVATE, RW, false, 0, CACHED, false, false, PS_FAULT_FILE },
	{ "disk private, write", DISK_PRIVATE, RW, true, 0, OWN, true, true, PS_FAULT_COW },
	{ "a hole, read", HOLE, 0, false, -EFAULT, NOTHING, false, false, PS_NR_FAULT_KINDS },
	{ "a hole, write", HOLE, 0, true, -EFAULT, NOTHING, false, false, PS_NR_FAULT_KINDS },
};

static enum mapped what_is_at(u64 addr)
{
	pte_t pte = pte_at(addr);

	if (pte_none(pte))
		return NOTHING;
	if (is_zero_pte(pte))
		return ZERO;
	return PageAnon(pfn_to_page(pte_pfn(pte))) ? OWN : CACHED;
}

static void every_memory_has_its_first_access(void **state)
{
	unsigned int i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(firsts); i++) {
		const struct first *f = &firsts[i];
		u64 before[PS_NR_FAULT_KINDS], addr = map_kind(f->kind, f->prot), word = 99;
		int error;

		memcpy(before, scene->machine->faults->count, sizeof(before));
		error = f->write ? try_store(addr, word_of(i, 0)) : try_load(addr, &word);
		if (error != f->error || what_is_at(addr) != f->mapped)
			fail_msg("%s: %d, %d mapped", f->name, error, what_is_at(addr));
		if (pte_write(pte_at(addr)) != f->writable || pte_dirty(pte_at(addr)) != f->dirty)
			fail_msg("%s: entry %#lx", f->name, (unsigned long)pte_at(addr).val);
		for (k = 0; k < PS_NR_FAULT_KINDS; k++)
			if (faults_of((enum ps_fault_kind)k) != before[k] + (k == f->counted))
				fail_msg("%s: %lu faults '%s'", f->name,
					 (unsigned long)(faults_of((enum ps_fault_kind)k) - before[k]),
					 ps_fault_kind_name((enum ps_fault_kind)k));
		assert_int_equal(exclusive_at(addr), f->mapped == OWN);
		if (!error && !f->write)
			assert_int_equal(word, 0);
		if (!error && f->write)
			assert_int_equal(load(addr), word_of(i, 0));
		expect_sound();
		do_munmap(current->mm, addr, pages(4));
		/* The next case finds the files empty. */
		ps_file_unlink(scene->machine->files, "/t/f");
		ps_file_unlink(scene->machine->files, "/d/f");
	}
}

/* ---- later accesses */

static void what_the_TLB_knows_takes_no_walk(void **state)
{
	u64 r = map(2), walks;
	struct ps_access access;

	(void)state;
	assert_int_equal(ps_mmu_access(r, true, &access), 0);
	assert_true(access.faulted);
	assert_int_equal(access.nid, 0);
	assert_int_equal(access.pfn, page_to_pfn(page_at(r)));
	walks = vmstat("pgfault");
	assert_int_equal(ps_mmu_access(r, true, &access), 0);
	assert_int_equal(ps_mmu_access(r, false, NULL), 0);
	assert_false(access.faulted);
	assert_int_equal(vmstat("pgfault"), walks);
}

/* A load fills the TLB with a clean translation; a store then walks once, sets the dirty bit, and faults not. */
static void a_store_through_a_clean_translation_sets_dirty(void **state)
{
	u64 r = map_file("/t/f", 0, 1, RW, SHARED);
	u64 faults;

	(void)state;
	load(r);
	assert_true(pte_write(pte_at(r)));
	assert_false(pte_dirty(pte_at(r)));
	faults = vmstat("pgfault");
	store(r, 5);
	assert_int_equal(vmstat("pgfault"), faults);
	assert_true(pte_dirty(pte_at(r)) && pte_soft_dirty(pte_at(r)));
}

static void the_accessed_bit_comes_back_by_a_walk(void **state)
{
	u64 r = map_filled(1, 1);
	pte_t *ptep = pte_offset_map(&current->mm->pt, pmd_at(r), r);
	u64 faults = vmstat("pgfault");

	(void)state;
	set_pte_at(ptep, pte_mkold(*ptep));
	load(r); /* the TLB still knows */
	assert_false(pte_young(*ptep));
	flush_tlb_page(&current->mm->pt, r);
	load(r);
	assert_true(pte_young(*ptep));
	assert_int_equal(vmstat("pgfault"), faults);
}

/* ---- the zero page */

static void the_zero_page_is_nobody_s_and_a_write_replaces_it(void **state)
{
	u64 r = map(3);

	(void)state;
	expect_zero(r, 3);
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), 0);
	store(r + pages(1), 7);
	assert_int_equal(faults_of(PS_FAULT_COW), 1);
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), 1);
	assert_int_equal(load(r), 0);
	assert_int_equal(load(r + pages(1)), 7);
	assert_true(exclusive_at(r + pages(1)));
}

/* ---- copy on write */

/*
 *      A and B share 4 pages.   B writes page 0, A writes page 1, nobody writes 2 and 3.
 * Expect: two copies, each writer has his own, the other keeps the original; the second writer of a page reuses it.
 */
static void who_writes_copies_and_the_last_one_reuses(void **state)
{
	u64 r = map_filled(4, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *original = page_at(r), *second = page_at(r + pages(1));

	(void)state;
	assert_false(pte_write(pte_at(r)));
	as(b);
	store(r, 100);
	assert_ptr_not_equal(page_at(r), original);
	assert_true(exclusive_at(r));
	as(a);
	store(r + pages(1), 101);
	assert_ptr_not_equal(page_at(r + pages(1)), second);
	assert_int_equal(faults_of(PS_FAULT_COW), 2);
	assert_int_equal(faults_of(PS_FAULT_REUSE), 0);
	/* Each original has one owner left: he takes it over in place. */
	store(r, 102);
	assert_ptr_equal(page_at(r), original);
	as(b);
	store(r + pages(1), 103);
	assert_ptr_equal(page_at(r + pages(1)), second);
	assert_int_equal(faults_of(PS_FAULT_COW), 2);
	assert_int_equal(faults_of(PS_FAULT_REUSE), 2);
	assert_int_equal(load(r), 100);
	assert_int_equal(load(r + pages(1)), 103);
	expect_filled(r, 0, 1);
	assert_int_equal(load(r + pages(2)), word_of(1, 2));
	as(a);
	assert_int_equal(load(r), 102);
	assert_int_equal(load(r + pages(1)), 101);
	assert_int_equal(load(r + pages(3)), word_of(1, 3));
}

/* Somebody holds a reference: the sole mapper does not know whose, and copies. */
static void a_page_somebody_holds_is_not_reused(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *b = fork_task("B");
	struct page *held, *original = page_at(r);

	(void)state;
	held = grab(r, FOLL_GET);
	as(b);
	exit_task(b);
	as(a);
	store(r, 5);
	assert_ptr_not_equal(page_at(r), original);
	assert_int_equal(page_word_read(held), word_of(1, 0));
	drop(held, FOLL_GET);
}

/* A reference that is only this CPU's LRU batch is flushed and forgiven; another CPU's is not looked for. */
static void the_own_lru_batch_does_not_stop_reuse(void **state)
{
	u64 r = map(2);
	struct task_struct *a = current, *b;
	struct page *original;

	(void)state;
	store(r, 1); /* batched on CPU 0 */
	b = fork_task("B");
	b->cpu = 3; /* so that its exit does not flush our batch */
	original = page_at(r);
	as(b);
	exit_task(b);
	as(a);
	assert_false(PageLRU(original));
	store(r, 2);
	assert_ptr_equal(page_at(r), original);

	store(r + pages(1), 1);
	b = fork_task("B");
	b->cpu = 3;
	original = page_at(r + pages(1));
	as(b);
	exit_task(b);
	as(a);
	a->cpu = 1;
	store(r + pages(1), 2);
	assert_ptr_not_equal(page_at(r + pages(1)), original);
	a->cpu = 0;
}

/* A private file page: read it shows the file, written it is the process's own, the file is as before. */
static void a_private_file_page_is_copied(void **state)
{
	u64 s = map_file("/d/f", 0, 2, RW, SHARED), p = map_file("/d/f", 0, 2, RW, 0);

	(void)state;
	fill(s, 2, 1);
	expect_filled(p, 2, 1);
	store(p, 9);
	store(s + pages(1), 8);
	assert_int_equal(load(p), 9);
	assert_int_equal(load(p + pages(1)), 8);
	assert_int_equal(load(s), word_of(1, 0));
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), 1);
	assert_int_equal(get_mm_counter(current->mm, MM_FILEPAGES), 3);
}

/* Another CPU's stale translation must not outlive a copy: B's thread reads what B wrote. */
static void a_copy_is_seen_by_every_thread(void **state)
{
	u64 r = map_filled(1, 1);
	struct task_struct *a = current, *t = thread("T", 2), *b;

	(void)state;
	as(t);
	assert_int_equal(load(r), word_of(1, 0));
	as(a);
	b = fork_task("B");
	as(t);
	load(r); /* CPU 2 has the shared page in its TLB */
	as(a);
	store(r, 42);
	as(t);
	assert_int_equal(load(r), 42);
	as(b);
	assert_int_equal(load(r), word_of(1, 0));
}

/* ---- files */

/* A clean page of a disk file is read-only until written: the file hears of it (dirty), once per cleaning. */
static void a_disk_file_hears_of_the_first_write(void **state)
{
	u64 r = map_file("/d/f", 0, 1, RW, SHARED);
	struct inode *inode = open_file("/d/f");
	struct page *page;

	(void)state;
	load(r);
	page = page_at(r);
	assert_false(PageDirty(page));
	store(r, 1);
	assert_true(PageDirty(page));
	assert_int_equal(vmstat("nr_dirty"), 1);
	assert_int_equal(file_fsync(inode), 0);
	assert_false(PageDirty(page) || pte_write(pte_at(r)) || pte_dirty(pte_at(r)));
	store(r, 2);
	assert_true(PageDirty(page));
	assert_int_equal(faults_of(PS_FAULT_REUSE), 2);
	iput(inode);
}

static void beyond_the_end_of_a_file_is_SIGBUS(void **state)
{
	u64 r = map_file("/d/f", 0, 4, RW, SHARED), p = map_file("/d/f", 0, 4, RW, 0), word;
	struct inode *inode = open_file("/d/f");

	(void)state;
	fill(r, 4, 1);
	store(p + pages(3), 9);
	assert_int_equal(file_truncate(inode, pages(2)), 0);
	assert_int_equal(load(r + pages(1)), word_of(1, 1));
	assert_int_equal(try_load(r + pages(2), &word), -ENXIO);
	assert_int_equal(try_store(r + pages(3), 1), -ENXIO);
	assert_int_equal(try_load(p + pages(3), &word), -ENXIO); /* the private copy went, too */
	iput(inode);
}

static void what_was_evicted_is_read_again(void **state)
{
	u64 r = map_file("/d/f", 0, 4, RW, SHARED);
	struct inode *inode = open_file("/d/f");
	s64 major;

	(void)state;
	fill(r, 4, 1);
	assert_int_equal(do_munmap(current->mm, r, pages(4)), 0);
	assert_int_equal(file_fsync(inode), 0);
	lru_add_drain_all();
	ps_files_drop_pagecache(scene->machine->files);
	assert_int_equal(inode->i_mapping->nrpages, 0);
	iput(inode);
	major = vmstat("pgmajfault");
	r = map_file("/d/f", 0, 4, RW, SHARED);
	expect_filled(r, 4, 1);
	assert_int_equal(vmstat("pgmajfault"), major + 4);
}

static void a_failing_disk_is_SIGBUS(void **state)
{
	u64 r = map_file("/d/f", 0, 1, RW, SHARED), word;
	struct inode *inode = open_file("/d/f");

	(void)state;
	store(r, 1);
	assert_int_equal(do_munmap(current->mm, r, pages(1)), 0);
	file_fsync(inode);
	lru_add_drain_all();
	ps_files_drop_pagecache(scene->machine->files);
	r = map_file("/d/f", 0, 1, RW, SHARED);
	scene->machine->files->disk.fail_reads = 1;
	assert_int_equal(try_load(r, &word), -ENXIO);
	assert_int_equal(load(r), 1);
	iput(inode);
}

/* ---- populate */

static void populate_faults_everything_in(void **state)
{
	u64 r = map_at(place(8), 8, RW, MM_MAP_POPULATE), ro = map_at(place(8), 8, RO, MM_MAP_POPULATE),
	    s = map_at(place(8), 8, RW, SHARED | MM_MAP_POPULATE), i;

	(void)state;
	for (i = 0; i < 8; i++) {
		assert_int_equal(what_is_at(r + pages(i)), OWN);
		assert_int_equal(what_is_at(ro + pages(i)), ZERO);
		assert_int_equal(what_is_at(s + pages(i)), CACHED);
		assert_false(pte_dirty(pte_at(s + pages(i)))); /* writing would dirty the file */
	}
	assert_int_equal(mm_populate(current->mm, r, pages(8)), 0);
	assert_int_equal(do_mprotect(current->mm, r, pages(8), 0), 0);
	assert_int_equal(mm_populate(current->mm, r, pages(8)), -EFAULT);
}

/* ---- names */

static void fault_kinds_have_names(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < PS_NR_FAULT_KINDS; i++)
		assert_string_not_equal(ps_fault_kind_name((enum ps_fault_kind)i), "?");
	assert_string_equal(ps_fault_kind_name(PS_NR_FAULT_KINDS), "?");
}

/* ---- contents that are bytes */

static void real_bytes_survive_a_copy(void **state)
{
	const struct scene_settings settings = { .machine = "two-node", .contents = PS_CONTENTS_BYTES };
	struct task_struct *a, *b;
	char *bytes;
	u64 r;

	(void)state;
	scene_fault_open(&settings);
	a = start("A", 0);
	r = map_filled(2, 1);
	bytes = (char *)page_address(page_at(r));
	memset(bytes + 100, 'x', 3000);
	b = fork_task("B");
	as(b);
	store(r, 5);
	bytes = (char *)page_address(page_at(r));
	assert_int_equal(bytes[100], 'x');
	assert_int_equal(bytes[3099], 'x');
	memset(bytes + 100, 'y', 10);
	as(a);
	assert_int_equal(((char *)page_address(page_at(r)))[100], 'x');
	assert_int_equal(load(r), word_of(1, 0));
	assert_int_equal(((char *)page_address(page_at(r + pages(1))))[8], 0);
	scene_close();
}

/* Without contents every word is 0 and nothing else is different. */
static void without_contents_faults_are_the_same(void **state)
{
	const struct scene_settings settings = { .machine = "two-node", .no_contents = true };
	u64 r;

	(void)state;
	scene_fault_open(&settings);
	start("A", 0);
	r = map(4);
	store(r, 5);
	assert_int_equal(load(r), 0);
	fork_task("B");
	store(r, 6);
	assert_int_equal(faults_of(PS_FAULT_COW), 1);
	scene_close();
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(every_memory_has_its_first_access),
		test(what_the_TLB_knows_takes_no_walk),
		test(a_store_through_a_clean_translation_sets_dirty),
		test(the_accessed_bit_comes_back_by_a_walk),
		test(the_zero_page_is_nobody_s_and_a_write_replaces_it),
		test(who_writes_copies_and_the_last_one_reuses),
		test(a_page_somebody_holds_is_not_reused),
		test(the_own_lru_batch_does_not_stop_reuse),
		test(a_private_file_page_is_copied),
		test(a_copy_is_seen_by_every_thread),
		test(a_disk_file_hears_of_the_first_write),
		test(beyond_the_end_of_a_file_is_SIGBUS),
		test(what_was_evicted_is_read_again),
		test(a_failing_disk_is_SIGBUS),
		test(populate_faults_everything_in),
		test(fault_kinds_have_names),
		cmocka_unit_test(real_bytes_survive_a_copy),
		cmocka_unit_test(without_contents_faults_are_the_same),
	};

	return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
