/* SPDX-License-Identifier: MIT */
/*
 * NUMA hint faults: an entry made PROT_NONE by a scan faults on the next access; the hooks decide and move; the entry is put
 * back as the VMA's protection wants it. A policy of the test's own stands behind the hooks.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/compound.h>
#include <pagesim/mprotect.h>

static u64 H;

/* What the fake policy was asked and told. */
static struct {
	nid_t answer; /* NUMA_NO_NODE: leave it */
	bool moves;   /* what migrate() claims */
	unsigned int asked, migrated, faulted;
	struct page *page;
	u64 addr;
	nid_t page_nid, told_nid;
	unsigned int told_pages;
	bool told_moved, told_failed;
	int refs; /* of the page while asked */
} fake;

static nid_t fake_misplaced(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid)
{
	(void)vma;
	fake.asked++;
	fake.page = page;
	fake.addr = addr;
	fake.page_nid = page_nid;
	fake.refs = page_count(page);
	return fake.answer;
}

static bool fake_migrate(struct page *page, struct vm_area_struct *vma, nid_t nid)
{
	(void)vma;
	assert_ptr_equal(page, fake.page);
	assert_int_equal(nid, fake.answer);
	fake.migrated++;
	put_page(page);
	return fake.moves;
}

static void fake_faulted(struct mm_struct *mm, nid_t nid, unsigned int n, bool moved, bool failed)
{
	assert_ptr_equal(mm, current->mm);
	fake.faulted++;
	fake.told_nid = nid;
	fake.told_pages = n;
	fake.told_moved = moved;
	fake.told_failed = failed;
}

static int setup(void **state)
{
	struct numa_hooks *hooks;

	(void)state;
	if (scene_fault_setup("two-node"))
		return -1;
	start("A", 0);
	thread("T", 1); /* what a lone thread has on its own node needs no hint */
	H = huge_pages();
	memset(&fake, 0, sizeof(fake));
	fake.answer = NUMA_NO_NODE;
	hooks = &scene->machine->faults->numa;
	hooks->misplaced = fake_misplaced;
	hooks->migrate = fake_migrate;
	hooks->faulted = fake_faulted;
	scene->machine->faults->numa_balancing = NUMA_BALANCING_NORMAL;
	return 0;
}

static long hint(u64 addr, u64 n)
{
	long changed;

	lru_add_drain_all();
	mmap_read_lock(current->mm);
	changed = change_protection(vma_at(addr), addr, addr + pages(n), MM_CP_PROT_NUMA);
	mmap_read_unlock(current->mm);
	return changed;
}

/* ---- the fault */

/* Expect: asked with the page, its address and node and one reference for the question; told the outcome; the entry as before. */
static void a_hint_fault_asks_and_puts_the_entry_back(void **state)
{
	u64 r = map_filled(2, 1);
	pte_t before = pte_at(r);

	(void)state;
	assert_int_equal(hint(r, 2), 2);
	assert_true(pte_protnone(pte_at(r)));
	assert_int_equal(load(r), word_of(1, 0));
	assert_int_equal(fake.asked, 1);
	assert_ptr_equal(fake.page, page_at(r));
	assert_int_equal(fake.addr, r);
	assert_int_equal(fake.page_nid, 0);
	assert_int_equal(fake.refs, 2);
	assert_int_equal(fake.migrated, 0);
	assert_int_equal(fake.faulted, 1);
	assert_int_equal(fake.told_nid, 0);
	assert_int_equal(fake.told_pages, 1);
	assert_false(fake.told_moved || fake.told_failed);
	assert_int_equal(pte_at(r).val, before.val); /* writable again without another fault */
	assert_true(pte_protnone(pte_at(r + pages(1))));
	assert_int_equal(vmstat("numa_hint_faults"), 1);
	assert_int_equal(vmstat("numa_hint_faults_local"), 1);
	assert_int_equal(faults_of(PS_FAULT_HINT), 1);
	/* Once. */
	store(r, 5);
	assert_int_equal(fake.asked, 1);
}

static void a_fault_from_another_node_is_not_local(void **state)
{
	u64 r = map_filled(1, 1);

	(void)state;
	hint(r, 1);
	current->cpu = 2;
	load(r);
	assert_int_equal(vmstat("numa_hint_faults"), 1);
	assert_int_equal(vmstat("numa_hint_faults_local"), 0);
	current->cpu = 0;
}

/* ---- what the policy says */

static void a_page_that_moved_is_told_as_moved(void **state)
{
	u64 r = map_filled(1, 1);

	(void)state;
	hint(r, 1);
	fake.answer = 1;
	fake.moves = true;
	/* The fake moves nothing, so the entry still faults: next time it says no. */
	mmap_read_lock(current->mm);
	assert_int_equal(handle_mm_fault(vma_at(r), r, FAULT_FLAG_USER), 0);
	mmap_read_unlock(current->mm);
	assert_int_equal(fake.migrated, 1);
	assert_int_equal(fake.told_nid, 1);
	assert_true(fake.told_moved);
	assert_false(fake.told_failed);
	assert_true(pte_protnone(pte_at(r)));
	fake.answer = NUMA_NO_NODE;
	expect_filled(r, 1, 1);
}

static void a_page_that_could_not_move_is_mapped_where_it_is(void **state)
{
	u64 r = map_filled(1, 1);

	(void)state;
	hint(r, 1);
	fake.answer = 1;
	expect_filled(r, 1, 1);
	assert_int_equal(fake.migrated, 1);
	assert_true(fake.told_failed);
	assert_false(fake.told_moved);
	assert_int_equal(fake.told_nid, 0);
	assert_false(pte_protnone(pte_at(r)));
	expect_sound();
}

/* ---- huge pages */

static void a_huge_page_asks_once_for_all(void **state)
{
	u64 h = map_huge_filled(1, 1);
	pmd_t before = pmd_at(h);

	(void)state;
	assert_int_equal(hint(h, H), H);
	assert_true(pmd_protnone(pmd_at(h)) && pmd_trans_huge(pmd_at(h)));
	assert_int_equal(load(h + pages(7)), word_of(1, 7));
	assert_int_equal(fake.asked, 1);
	assert_int_equal(fake.addr, h);
	assert_int_equal(fake.told_pages, H);
	assert_int_equal(pmd_at(h).val, before.val);
	hint(h, H);
	fake.answer = 1;
	store(h, 5);
	assert_int_equal(fake.migrated, 1);
	assert_true(fake.told_failed);
	assert_true(pmd_trans_huge(pmd_at(h)));
}

/* A huge page mapped by small entries is left where it is, without asking. */
static void a_huge_page_mapped_in_pieces_is_not_asked_about(void **state)
{
	u64 h = map_huge_filled(1, 1);

	(void)state;
	assert_int_equal(do_mprotect(current->mm, h, pages(1), RO), 0);
	hint(h + pages(1), 4);
	fake.answer = 1;
	expect_filled(h, H, 1);
	assert_int_equal(fake.asked, 0);
	assert_int_equal(fake.faulted, 0);
}

/* ---- what is not hinted */

static void a_scan_spares_what_says_nothing(void **state)
{
	u64 shared = map_filled(1, 1), zero = map(1), f = map_file("/d/f", 0, 1, RW, SHARED), own = map_filled(1, 1),
	    none;
	struct inode *inode = open_file("/d/f");

	(void)state;
	load(zero);
	store(f, 1);
	assert_int_equal(hint(zero, 1), 0); /* nobody's */
	assert_int_equal(hint(f, 1), 0);    /* dirty file pages are not moved by a hint */
	file_fsync(inode);
	assert_int_equal(hint(f, 1), 1);
	load(f);
	iput(inode);
	none = map_filled(1, 1);
	assert_int_equal(do_mprotect(current->mm, none, pages(1), 0), 0);
	assert_int_equal(hint(none, 1), 0); /* PROT_NONE already */
	fork_task("B");
	assert_int_equal(hint(shared, 1), 0); /* shared by copy on write */
	assert_int_equal(hint(own, 1), 0);
	store(own, 1);
	assert_int_equal(hint(own, 1), 1); /* a copy of one's own */
	load(own);
}

/* Memory tiering without the normal mode: the top tier is spared; in the slow tier the time of the scan is noted. */
static void tiering_looks_at_the_slow_tier_only(void **state)
{
	u64 fast, slow;

	(void)state;
	scene_close();
	scene_fault_setup("dram-cxl");
	start("A", 0);
	scene->machine->faults->numa_balancing = NUMA_BALANCING_MEMORY_TIERING;
	fast = map_filled(1, 1);
	set_policy(MPOL_BIND, 1, NUMA_NO_NODE);
	slow = map_filled(1, 1);
	assert_int_equal(node_at(slow), 1);
	ps_charge(77000000, PS_TIME_SYSCALL);
	assert_int_equal(hint(fast, 1), 0);
	assert_int_equal(hint(slow, 1), 1);
	assert_int_equal(xchg_page_access_time(page_at(slow), 0), (int)(ps_now() / 1000000));
	load(slow);
}

static void without_a_policy_hints_are_simply_taken_away(void **state)
{
	u64 r = map_filled(1, 1);

	(void)state;
	hint(r, 1);
	memset(&scene->machine->faults->numa, 0, sizeof(scene->machine->faults->numa));
	expect_filled(r, 1, 1);
	assert_int_equal(vmstat("numa_hint_faults"), 1);
	assert_false(pte_protnone(pte_at(r)));
}

/* A hint on a page the VMA forbids by now is no hint: SIGSEGV as for everybody. */
static void PROT_NONE_of_the_vma_is_no_hint(void **state)
{
	u64 r = map_filled(1, 1), word;

	(void)state;
	hint(r, 1);
	assert_int_equal(do_mprotect(current->mm, r, pages(1), 0), 0);
	assert_int_equal(try_load(r, &word), -EFAULT);
	assert_int_equal(fake.asked, 0);
	assert_int_equal(do_mprotect(current->mm, r, pages(1), RW), 0);
	expect_filled(r, 1, 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_hint_fault_asks_and_puts_the_entry_back),
		test(a_fault_from_another_node_is_not_local),
		test(a_page_that_moved_is_told_as_moved),
		test(a_page_that_could_not_move_is_mapped_where_it_is),
		test(a_huge_page_asks_once_for_all),
		test(a_huge_page_mapped_in_pieces_is_not_asked_about),
		test(a_scan_spares_what_says_nothing),
		test(tiering_looks_at_the_slow_tier_only),
		test(without_a_policy_hints_are_simply_taken_away),
		test(PROT_NONE_of_the_vma_is_no_hint),
	};

	return cmocka_run_group_tests_name("NUMA hints", tests, NULL, NULL);
}
