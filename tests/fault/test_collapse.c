/* SPDX-License-Identifier: MIT */
/*
 * Collapse: small pages become a huge one, of anonymous memory and of tmpfs files; what keeps it from doing so and what that
 * leaves behind; khugepaged's limits; without memory; beside everything else that may happen to the pages.
 */
#include "fixtures/scene_fault.h"

#include <pagesim/collapse.h>
#include <pagesim/compound.h>

static u64 H; /* pages of a huge page */

static int setup_on(const char *machine)
{
	if (scene_fault_setup(machine))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_on("two-node");
}

static int setup_tiny(void **state)
{
	(void)state;
	return setup_on("tiny");
}

static int collapse(u64 addr, u64 n)
{
	return do_madvise(current->mm, addr, pages(n), PS_MADV_COLLAPSE);
}

static bool huge_at(u64 addr)
{
	return pmd_trans_huge(pmd_at(addr));
}

/* ---- anonymous memory */

/*
 *   PMD ─> table ─> H small pages        PMD ─> huge page
 * Expect the words, one reference, an exclusive page, the table in store behind it, and the small pages freed.
 */
static void small_pages_become_one_huge_page(void **state)
{
	u64 r = map(H);
	struct page *head;

	(void)state;
	fill(r, H / 2, 1);
	expect_zero(r + pages(H / 2), 1); /* the zero page */
	assert_int_equal(collapse(r, H), 0);
	assert_true(huge_at(r));
	head = page_at(r);
	assert_int_equal(page_ref_count(head), 1);
	assert_int_equal(head_compound_mapcount(head), 1);
	assert_true(exclusive_at(r));
	assert_int_equal(pgtable_trans_huge_deposits(pmd_find(&current->mm->pt, r)), 1);
	assert_int_equal(get_mm_counter(current->mm, MM_ANONPAGES), H);
	assert_int_equal(vmstat("thp_collapse_alloc"), 1);
	expect_filled(r, H / 2, 1);
	expect_zero(r + pages(H / 2), H / 2);
	expect_sound();
	drain_all_pages(NULL);
	assert_int_equal(ps_mem_allocated_pages(scene->machine), H);
	/* Once more: it is one. */
	assert_int_equal(collapse(r, H), 0);
	assert_int_equal(vmstat("thp_collapse_alloc"), 1);
}

/* What does not collapse, and what madvise says of it. The words are there afterwards, whatever it said. */
struct obstacle {
	const char *name;
	int expected;
	long allocated; /* huge pages tried */
};

static void expect_obstacle(const struct obstacle *o, u64 r)
{
	s64 before = vmstat("thp_collapse_alloc");
	int error = collapse(r, H);

	if (error != o->expected)
		fail_msg("%s: %d instead of %d", o->name, error, o->expected);
	if (vmstat("thp_collapse_alloc") - before != o->allocated)
		fail_msg("%s: %ld huge pages", o->name, (long)(vmstat("thp_collapse_alloc") - before));
	if (error && huge_at(r))
		fail_msg("%s: collapsed all the same", o->name);
	expect_sound();
}

static void what_keeps_anonymous_memory_from_collapsing(void **state)
{
	u64 r = map(H), other = map(H), odd = map_at(place(3 * H) + pages(1), H, RW, 0);
	struct page *page;

	(void)state;
	expect_obstacle(&(struct obstacle){ "never touched", -EINVAL, 0 }, r);
	expect_zero(other, H);
	expect_obstacle(&(struct obstacle){ "nothing but zero pages", -EINVAL, 0 }, other);
	fill(odd, H, 4);
	expect_obstacle(&(struct obstacle){ "nowhere aligned", -EINVAL, 0 }, odd);
	fill(r, H, 1);
	page = grab(r + pages(1), FOLL_GET);
	expect_obstacle(&(struct obstacle){ "a reference", -EAGAIN, 0 }, r);
	drop(page, FOLL_GET);
	page = grab(r + pages(2), FOLL_PIN | FOLL_WRITE);
	expect_obstacle(&(struct obstacle){ "a pin", -EAGAIN, 0 }, r);
	drop(page, FOLL_PIN);
	page = page_at(r + pages(3));
	__SetPageLocked(page); /* by somebody else, as far as this task's locks go */
	assert_int_equal(collapse(r, H), -EAGAIN);
	__ClearPageLocked(page);
	expect_sound();
	assert_int_equal(do_mprotect(current->mm, r, pages(H), RO), 0);
	expect_obstacle(&(struct obstacle){ "nothing writable", -EINVAL, 0 }, r);
	assert_int_equal(do_mprotect(current->mm, r, pages(H), RW), 0);
	store(r, word_of(1, 0));
	assert_int_equal(do_madvise(current->mm, r, pages(H), PS_MADV_NOHUGEPAGE), 0);
	expect_obstacle(&(struct obstacle){ "advised against", -EINVAL, 0 }, r);
	assert_int_equal(do_madvise(current->mm, r, pages(H), PS_MADV_HUGEPAGE), 0);
	expect_filled(r, H, 1);
	/* "never" binds faults and khugepaged, not who asks in so many words. */
	scene->machine->faults->thp_enabled = THP_NEVER;
	assert_int_equal(khugepaged_scan_range(current->mm, r), SCAN_VMA_CHECK);
	expect_obstacle(&(struct obstacle){ "nothing", 0, 1 }, r);
	expect_filled(r, H, 1);
}

/* A locked or held page is found only when others are isolated already. Expect all of them to be put back. */
static void a_late_obstacle_puts_everything_back(void **state)
{
	u64 r = map_filled(H, 1);
	struct page *page = page_at(r + pages(H - 1));

	(void)state;
	lru_add_drain_all();
	/* Off the LRU with the flag set is what an isolator in between looks like to the scan. */
	assert_int_equal(isolate_lru_page(page), 0);
	hold(page, 1);
	expect_obstacle(&(struct obstacle){ "isolated", -EAGAIN, 0 }, r);
	unhold(page, 1);
	putback_lru_page(page);
	lru_add_drain_all();
	assert_int_equal(vmstat("nr_isolated_anon"), 0);
	assert_int_equal(collapse(r, H), 0);
	expect_filled(r, H, 1);
}

/* Expect the huge page where most of the small ones were; of two nodes with as many, the first. */
static void the_huge_page_goes_where_most_of_the_pages_are(void **state)
{
	u64 r = map(H), s = map(H);

	(void)state;
	set_policy(MPOL_BIND, 1, NUMA_NO_NODE);
	fill(r, H / 2 + 1, 1);
	fill(s, H / 2, 2);
	set_policy(MPOL_BIND, 0, NUMA_NO_NODE);
	store(r + pages(H - 1), 5);
	fill(s, H, 2);
	assert_int_equal(collapse(r, H), 0);
	assert_int_equal(collapse(s, H), 0);
	assert_int_equal(node_at(r), 1);
	assert_int_equal(node_at(s), 0);
	expect_filled(r, H / 2 + 1, 1);
	expect_filled(s, H, 2);
}

/* Two processes share the pages. Expect the one that collapses to have its own copy, the other the small pages. */
static void shared_pages_are_copied_and_stay_the_others(void **state)
{
	u64 r = map_filled(H, 1);
	struct task_struct *a = current, *b = fork_task("B");

	(void)state;
	store(r, word_of(1, 0)); /* one writable page makes it worth it */
	assert_int_equal(collapse(r, H), 0);
	assert_true(huge_at(r));
	as(b);
	assert_false(huge_at(r));
	expect_filled(r, H, 1);
	store(r + pages(1), 9);
	as(a);
	expect_filled(r, H, 1);
	expect_sound();
}

/* A huge page mapped by PTEs is copied into a new one; its own last mapping gone, it is freed, deferred split or not. */
static void a_huge_page_in_pieces_is_copied_whole(void **state)
{
	u64 r = map_huge_filled(1, 1);
	struct page *old = page_at(r);

	(void)state;
	assert_int_equal(do_madvise(current->mm, r, pages(1), PS_MADV_DONTNEED), 0);
	assert_false(huge_at(r));
	assert_int_equal(NODE_DATA(page_to_nid(old))->deferred_split_queue.split_queue_len, 1);
	assert_int_equal(collapse(r, H), 0);
	assert_true(huge_at(r));
	assert_ptr_not_equal(page_at(r), old);
	assert_int_equal(load(r), 0);
	assert_int_equal(load(r + pages(1)), word_of(1, 1));
	expect_sound();
	assert_int_equal(NODE_DATA(0)->deferred_split_queue.split_queue_len, 0);
}

/* ---- khugepaged */

/* Each limit alone, just met and exceeded by one. */
static void khugepaged_keeps_to_its_limits(void **state)
{
	struct khugepaged_limits *limits = &scene->machine->faults->khugepaged;
	u64 r = map(H), s = map(H);
	struct task_struct *b;

	(void)state;
	assert_int_equal(limits->max_ptes_none, H - 1);
	assert_int_equal(limits->max_ptes_swap, H / 8);
	assert_int_equal(limits->max_ptes_shared, H / 2);
	scene->machine->faults->thp_enabled = THP_ALWAYS;
	assert_int_equal(do_madvise(current->mm, r, pages(H), PS_MADV_NOHUGEPAGE), 0);
	assert_int_equal(do_madvise(current->mm, s, pages(H), PS_MADV_NOHUGEPAGE), 0);
	fill(r, H - 2, 1);
	fill(s, H, 2);
	assert_int_equal(khugepaged_scan_range(current->mm, r), SCAN_VMA_CHECK);
	assert_int_equal(do_madvise(current->mm, r, pages(H), PS_MADV_HUGEPAGE), 0);
	assert_int_equal(do_madvise(current->mm, s, pages(H), PS_MADV_HUGEPAGE), 0);

	limits->max_ptes_none = 1;
	assert_int_equal(khugepaged_scan_range(current->mm, r), SCAN_EXCEED_NONE_PTE);
	assert_int_equal(vmstat("thp_scan_exceed_none_pte"), 1);
	limits->max_ptes_none = 2;
	assert_int_equal(khugepaged_scan_range(current->mm, r + pages(1)), SCAN_SUCCEED);
	assert_true(huge_at(r));
	assert_int_equal(khugepaged_scan_range(current->mm, r), SCAN_PMD_MAPPED);

	b = fork_task("B");
	store(s, word_of(2, 0));
	store(s + pages(1), word_of(2, 1));
	limits->max_ptes_shared = (unsigned int)H - 3;
	assert_int_equal(khugepaged_scan_range(current->mm, s), SCAN_EXCEED_SHARED_PTE);
	assert_int_equal(vmstat("thp_scan_exceed_share_pte"), 1);
	limits->max_ptes_shared++;
	assert_int_equal(khugepaged_scan_range(current->mm, s), SCAN_SUCCEED);
	expect_filled(s, H, 2);
	exit_task(b);
	expect_filled(r, H - 2, 1);
	/* What madvise may do all the same is counted nowhere. */
	assert_int_equal(vmstat("thp_scan_exceed_none_pte"), 1);
}

/* Pages nobody has used since their accessed bits were cleared are not worth a huge page. */
static void khugepaged_leaves_unused_memory_alone(void **state)
{
	u64 r = map_filled(H, 1), i;

	(void)state;
	scene->machine->faults->thp_enabled = THP_ALWAYS;
	lru_add_drain_all();
	for (i = 0; i < H; i++) {
		pte_t *pte = pte_offset_map(&current->mm->pt, *pmd_find(&current->mm->pt, r), r + pages(i));

		ptep_test_and_clear_young(pte);
		ClearPageReferenced(page_at(r + pages(i)));
	}
	flush_tlb_mm(&current->mm->pt);
	assert_int_equal(khugepaged_scan_range(current->mm, r), SCAN_LACK_REFERENCED_PAGE);
	load(r);
	assert_int_equal(khugepaged_scan_range(current->mm, r), SCAN_SUCCEED);
	expect_filled(r, H, 1);
}

/* ---- files */

/*
 *   file  [p0][p1][  ][p3]...      huge page, its holes zero; the mapping has a PMD
 * Expect the words by every way there is, and the cache's references: one for each small page's place.
 */
static void a_file_with_holes_becomes_huge(void **state)
{
	u64 r = map_file("/t/f", 0, H, RW, SHARED), s = map_file("/t/f", 0, H, RO, 0);
	struct page *head;

	(void)state;
	store(r, 1);
	store(r + pages(1), 2);
	store(r + pages(3), 3);
	assert_int_equal(load(s + pages(1)), 2);
	assert_int_equal(collapse(r, H), 0);
	assert_true(huge_at(r));
	head = page_at(r);
	assert_int_equal(page_ref_count(head), H + 1);
	assert_true(PageDirty(head));
	assert_int_equal(vmstat("nr_shmem"), H);
	assert_int_equal(vmstat("nr_shmem_hugepages"), 1);
	/* The other mapping has lost its entries, though not its table: it comes back to the same page by a PTE. */
	assert_null(page_at(s + pages(1)));
	assert_int_equal(load(s + pages(1)), 2);
	assert_ptr_equal(page_at(s + pages(1)), head + 1);
	assert_int_equal(load(r), 1);
	assert_int_equal(load(r + pages(2)), 0);
	assert_int_equal(load(r + pages(3)), 3);
	expect_sound();
}

/* Held in the middle. Expect pages before it, and holes, to be what they were: slots, references, LRU. */
static void a_held_page_of_a_file_undoes_all(void **state)
{
	u64 r = map_file("/t/f", H, H, RW, SHARED), i, n;
	struct page *page, *late;

	(void)state;
	for (i = 0; i < H; i += 2)
		store(r + pages(i), word_of(1, i));
	n = (u64)vma_at(r)->vm_mapping->nrpages;
	/* A reference that the scan takes for a mapping's, until everything is unmapped. */
	page = grab(r + pages(2 * (H / 4)), FOLL_GET);
	assert_int_equal(collapse(r, H), -EAGAIN);
	assert_int_equal(vma_at(r)->vm_mapping->nrpages, n);
	expect_sound();
	drop(page, FOLL_GET);
	late = page_at(r);
	__SetPageLocked(late);
	assert_int_equal(collapse(r, H), -EAGAIN);
	__ClearPageLocked(late);
	assert_int_equal(vma_at(r)->vm_mapping->nrpages, n);
	expect_sound();
	for (i = 0; i < H; i++)
		assert_int_equal(load(r + pages(i)), i % 2 ? 0 : word_of(1, i));
	assert_int_equal(collapse(r, H), 0);
	for (i = 0; i < H; i++)
		assert_int_equal(load(r + pages(i)), i % 2 ? 0 : word_of(1, i));
}

/* The pages lie on another node than the huge page ends up on. Expect both nodes' counters to be right (checked). */
static void node_counters_follow_the_pages_of_a_file(void **state)
{
	u64 r = map_file("/t/f", 0, H, RW, SHARED);

	(void)state;
	set_policy(MPOL_BIND, 1, NUMA_NO_NODE);
	fill(r, H / 2 + 1, 1);
	set_policy(MPOL_BIND, 0, NUMA_NO_NODE);
	store(r + pages(H - 1), 7);
	assert_int_equal(collapse(r, H), 0);
	assert_int_equal(node_at(r), 1);
	assert_int_equal(node_page_state(0, NR_SHMEM), 0);
	assert_int_equal(node_page_state(1, NR_SHMEM), H);
	expect_filled(r, H / 2 + 1, 1);
}

/* The file's page is huge, this mapping of it in pieces. Expect only the mapping to change. */
static void a_small_mapping_of_a_huge_page_gets_its_pmd_back(void **state)
{
	u64 r = map_file("/t/f", 0, H, RW, SHARED);
	struct page *head;

	(void)state;
	fill(r, H, 1);
	assert_int_equal(collapse(r, H), 0);
	head = page_at(r);
	assert_int_equal(do_mprotect(current->mm, r, pages(1), RO), 0);
	expect_filled(r, H, 1); /* faults: by PTEs, since a VMA boundary is inside */
	assert_false(huge_at(r));
	assert_int_equal(do_mprotect(current->mm, r, pages(1), RW), 0);
	store(r, word_of(1, 0));
	assert_int_equal(collapse(r, H), 0);
	assert_true(huge_at(r));
	assert_ptr_equal(page_at(r), head);
	assert_int_equal(page_ref_count(head), H + 1);
	assert_int_equal(vmstat("thp_collapse_alloc"), 1);
	expect_filled(r, H, 1);
}

/* ---- without memory */

static void every_failing_allocation_of_a_collapse_is_survived(void **state)
{
	u64 n, failures = 0, i;
	bool done = false;

	(void)state;
	for (n = 1; !done; n++) {
		u64 r, f;
		int error;

		scene_fault_setup("tiny,0=2M,1=2M");
		start("A", 0);
		H = huge_pages();
		r = map_filled(H, 1);
		/* Far into the file: the slots need a tree of their own, and some have none yet. */
		f = map_file("/t/f", 4 * H, H, RW, SHARED);
		store(f + pages(2), 3);
		ps_alloc_fail_nth(n);
		error = collapse(r, H);
		if (!error)
			error = collapse(f, H);
		done = ps_alloc_fail_nth(0);
		if (done && error)
			fail_msg("%d though nothing failed", error);
		/* 0: what failed was tried again, outside the lock. */
		if (!done && error && error != -ENOMEM && error != -EINVAL)
			fail_msg("allocation %lu: %d", (unsigned long)n, error);
		failures += !done;
		expect_filled(r, H, 1);
		for (i = 0; i < H; i++)
			assert_int_equal(load(f + pages(i)), i == 2 ? 3 : 0);
		expect_sound();
		scene_close();
	}
	assert_true(failures >= 3);
}

/* Every frame is in use. Expect -ENOMEM, counted, and nothing changed. */
static void no_huge_page_is_no_reason_to_lose_anything(void **state)
{
	u64 r = map_filled(H, 1), filler = map(200), n = 0;

	(void)state;
	while (!try_store(filler + pages(n), 1))
		n++;
	assert_int_equal(collapse(r, H), -ENOMEM);
	assert_true(vmstat("thp_collapse_alloc_failed") > 0);
	expect_filled(r, H, 1);
	expect_sound();
	assert_int_equal(do_munmap(current->mm, filler, pages(200)), 0);
	assert_int_equal(collapse(r, H), 0);
}

/* ---- beside others */

static struct {
	u64 r, n;
	unsigned int rounds, wrong, collapsed, running;
} beside;

static void collapser(void *arg)
{
	(void)arg;
	while (beside.running > 1) {
		int error = do_madvise(current->mm, beside.r, pages(beside.n), PS_MADV_COLLAPSE);

		beside.collapsed += !error;
		if (error && error != -EAGAIN && error != -EINVAL && error != -ENOMEM)
			beside.wrong++;
		cond_resched();
	}
	beside.running--;
}

/* Writes its half of the words over and over, and never finds another one there. */
static void writer(void *arg)
{
	u64 half = (u64)(uintptr_t)arg, i, round, word;

	current->cpu = (int)half;
	for (round = 0; round < beside.rounds; round++)
		for (i = half; i < beside.n; i += 2) {
			u64 addr = beside.r + pages(i);

			int error;

			while ((error = try_store(addr, word_of(round, i))) == -EFAULT)
				cond_resched(); /* read-only for a moment */
			beside.wrong += error != 0;
			cond_resched();
			if (try_load(addr, &word) || word != word_of(round, i))
				beside.wrong++;
		}
	beside.running--;
}

/* Takes mappings apart: protection changes, forks that share the pages, references. */
static void disturber(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < beside.rounds; i++) {
		u64 addr = beside.r + pages((i * 7) % beside.n);
		struct mm_struct *child;
		struct page *page;

		if (do_mprotect(current->mm, addr, PAGE_SIZE, RO) || do_mprotect(current->mm, addr, PAGE_SIZE, RW))
			beside.wrong++;
		if (get_user_pages(current->mm, addr, 1, FOLL_GET, &page) == 1) {
			cond_resched();
			put_user_page(page, FOLL_GET, false);
		}
		if (i % 3 == 0 && !dup_mm(current->mm, &child)) {
			cond_resched();
			mmput(child);
		}
	}
	beside.running--;
}

static void go_beside(u64 seed, bool shared)
{
	const struct scene_settings settings = { .machine = "tiny,0=512K,1=512K",
						 .runtime = { .seed = seed, .shuffle = 6000 } };
	void (*const fn[])(void *) = { collapser, writer, writer, disturber };
	struct task_struct *task[ARRAY_SIZE(fn)], *a;
	unsigned int i;

	assert_int_equal(scene_fault_open(&settings), 0);
	a = start("A", 0);
	H = huge_pages();
	beside.n = 2 * H;
	beside.r = shared ? map_file("/t/f", 0, beside.n, RW, SHARED) : map(beside.n);
	beside.rounds = 12;
	beside.running = ARRAY_SIZE(fn);
	for (i = 0; i < ARRAY_SIZE(fn); i++) {
		task[i] = ps_task_new(scene->rt, "racer", fn[i], (void *)(uintptr_t)(i == 2));
		assert_non_null(task[i]);
		task[i]->mm = a->mm;
		mmget(a->mm);
	}
	ps_task_leave();
	ps_runtime_run(scene->rt, UINT64_MAX);
	ps_task_enter(a);
	assert_int_equal(beside.running, 0);
	assert_int_equal(beside.wrong, 0);
	for (i = 0; i < ARRAY_SIZE(fn); i++) {
		mmput(a->mm);
		ps_task_free(task[i]);
	}
	for (i = 0; i < beside.n; i++)
		assert_int_equal(load(beside.r + pages(i)), word_of(beside.rounds - 1, i));
	expect_sound();
	scene_close();
}

/* Stopped at random between any two steps. Expect no store to be lost, and all counts to be right. */
static void no_store_is_lost_beside_a_collapse(void **state)
{
	u64 seed;

	(void)state;
	beside.collapsed = 0;
	for (seed = 1; seed <= 200; seed++)
		go_beside(seed, false);
	print_message("             %u collapses\n", beside.collapsed);
	assert_true(beside.collapsed > 200);
}

static void no_store_is_lost_beside_a_collapse_of_a_file(void **state)
{
	u64 seed;

	(void)state;
	beside.collapsed = 0;
	for (seed = 1; seed <= 200; seed++)
		go_beside(seed, true);
	print_message("             %u collapses\n", beside.collapsed);
	assert_true(beside.collapsed > 200);
}

#define T(name)      cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
#define T_TINY(name) cmocka_unit_test_setup_teardown(name, setup_tiny, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(small_pages_become_one_huge_page),
		T_TINY(small_pages_become_one_huge_page),
		T_TINY(what_keeps_anonymous_memory_from_collapsing),
		T(a_late_obstacle_puts_everything_back),
		T(the_huge_page_goes_where_most_of_the_pages_are),
		T(shared_pages_are_copied_and_stay_the_others),
		T_TINY(shared_pages_are_copied_and_stay_the_others),
		T(a_huge_page_in_pieces_is_copied_whole),
		T(khugepaged_keeps_to_its_limits),
		T(khugepaged_leaves_unused_memory_alone),
		T(a_file_with_holes_becomes_huge),
		T_TINY(a_file_with_holes_becomes_huge),
		T(a_held_page_of_a_file_undoes_all),
		T_TINY(a_held_page_of_a_file_undoes_all),
		T(node_counters_follow_the_pages_of_a_file),
		T(a_small_mapping_of_a_huge_page_gets_its_pmd_back),
		T_TINY(a_small_mapping_of_a_huge_page_gets_its_pmd_back),
		cmocka_unit_test(every_failing_allocation_of_a_collapse_is_survived),
		T_TINY(no_huge_page_is_no_reason_to_lose_anything),
		cmocka_unit_test(no_store_is_lost_beside_a_collapse),
		cmocka_unit_test(no_store_is_lost_beside_a_collapse_of_a_file),
	};

	return cmocka_run_group_tests_name("collapse", tests, NULL, NULL);
}
